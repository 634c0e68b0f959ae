"""Filter banks: 80 log-mel bins with their first and second differences, the baseline row of every SUPERB table.

Exactly the reference's features (SUPERB, Yang et al. 2021, arXiv 2105.01051): Kaldi filter banks on the wave in [-1, 1], 25 ms
windows every 10 ms, no dither; differences over five frames; then mean and variance normalisation of each utterance, for
`fbank` alone. Where a head averages over time that normalisation leaves nothing, so the public leaderboard uses
`fbank_no_cmvn` for KS, SID, IC and ER.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchaudio.compliance import kaldi
from torchaudio.transforms import ComputeDeltas

from superbench import SAMPLE_RATE, Features

WINDOW = 400
BINS = 80
EPSILON = 1e-10


class FbankNoCmvn(nn.Module):
    """Log-mel filter banks with differences, (1, batch, time, 240); T = floor((samples - 400) / 160) + 1.

    A sound shorter than one window is padded with zeros to one window.
    """

    sample_rate, hop, layers, dim = SAMPLE_RATE, 160, 1, 3 * BINS
    normalise = False

    def __init__(self) -> None:
        super().__init__()
        self.deltas = ComputeDeltas(win_length=5)

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Each utterance is computed from its own samples alone."""
        frames = [self._one(wave[:length]) for wave, length in zip(waves, lengths.tolist(), strict=True)]
        counts = torch.tensor([len(one) for one in frames], device=waves.device)
        return Features(pad_sequence(frames, batch_first=True)[None], counts)

    def _one(self, wave: Tensor) -> Tensor:
        wave = nn.functional.pad(wave, (0, max(WINDOW - len(wave), 0)))
        mel = kaldi.fbank(wave[None], num_mel_bins=BINS, sample_frequency=SAMPLE_RATE, frame_length=25.0, frame_shift=10.0)
        first = self.deltas(mel.T[None])[0].T
        second = self.deltas(first.T[None])[0].T
        frames = torch.cat([mel, first, second], dim=1)
        return normalised(frames) if self.normalise else frames


class Fbank(FbankNoCmvn):
    """As `FbankNoCmvn`, each bin of each utterance with zero mean and unit variance."""

    normalise = True


def normalised(frames: Tensor) -> Tensor:
    """(time, dim) with zero mean and unit (unbiased) variance over time; a single frame keeps variance zero."""
    spread = frames.std(0) if len(frames) > 1 else torch.zeros_like(frames[0])
    return (frames - frames.mean(0)) / (EPSILON + spread)
