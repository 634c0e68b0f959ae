"""Echo episodes: sequences in which every second sound repeats the one before it, for pretraining without labels.

An episode is a sound, another view of it, the next sound, another view of that one, and so on, as augmented pairs are the
positives of SimCLR. What repeats can be learnt from the context alone. It is the form of a prompt: a sound, then its label.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE

SHORTEST, LONGEST = 0.4, 1.2
"""Seconds of a piece of sound: about a word."""
PAIRS = 16
"""The most pairs of an episode: about 25 seconds."""


def pieces(waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Cuts sounds (batch, samples) into pieces of random length, in random order; returns them padded, and their lengths.

    A rest that is too short for a piece is left out; a sound that is too short stays complete.
    """
    cut: list[Tensor] = []
    for wave, length in zip(waves, lengths.tolist(), strict=True):
        at = 0
        while at == 0 or length - at >= SHORTEST * SAMPLE_RATE:
            seconds = SHORTEST + (LONGEST - SHORTEST) * float(torch.rand(()))
            cut.append(wave[at : min(at + round(seconds * SAMPLE_RATE), length)])
            at += round(seconds * SAMPLE_RATE)
    mixed = [cut[index] for index in torch.randperm(len(cut)).tolist()]
    samples = torch.tensor([len(piece) for piece in mixed], device=waves.device)
    return nn.utils.rnn.pad_sequence(mixed, batch_first=True), samples


def episodes(sounds: Tensor, views: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Joins units of sounds and of their views, both (sound, time), into episodes of at most `PAIRS` pairs.

    `counts` (sound,) are the numbers of units of a sound, and of its view. Returns the units (episode, time) and their numbers.
    """
    pairs = [
        torch.cat([sound[:count], view[:count]]) for sound, view, count in zip(sounds, views, counts.tolist(), strict=True)
    ]
    joined = [torch.cat(list(part)) for part in _parts(pairs)]
    lengths = torch.tensor([len(episode) for episode in joined], device=sounds.device)
    return nn.utils.rnn.pad_sequence(joined, batch_first=True), lengths


def _parts(pairs: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    return [pairs[at : at + PAIRS] for at in range(0, len(pairs), PAIRS)]
