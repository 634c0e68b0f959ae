"""SimCLR for speech: embeddings of two views of an utterance are pulled together, those of other utterances pushed apart.

Chen, Kornblith, Norouzi, Hinton (2020), "A simple framework for contrastive learning of visual representations", arXiv
2002.05709; for speech: Jiang, Li, Cao, Zhang, Zhao, Li (2020), "Speech SimCLR", arXiv 2010.13991. A view: a random piece of
the utterance, another utterance mixed under it, a gain, masks along time and frequency. The mean over time of the last layer
goes through two layers of projection, which are dropped afterwards, to the NT-Xent loss. The published SUPERB table has no
SimCLR: `base` has the network of TERA (3 layers of 768, 21.3 M weights, 4 hidden states, 10 ms), so that only the objective
differs; `mini` reads two stacked frames (20 ms). Utterances of one batch are each other's negatives, so the loss depends on
the batch and `--accumulate` makes it easier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from superbench import CommandError, Pretraining, Upstream
from upstream.shared import views
from upstream.shared.transformer import MelTransformer, TransformerConfig


@dataclass(frozen=True)
class SimClrConfig(TransformerConfig):
    """Strength of the views, and temperature.

    `piece`: least fraction of the utterance in a view; `loud`, `quiet`: decibels of the utterance mixed under it; `gain`:
    decibels up or down.
    """

    piece: float = 0.5
    loud: float = 5.0
    quiet: float = 20.0
    gain: float = 6.0
    spans: int = 2
    span: float = 0.1
    bands: float = 0.2
    projection: int = 128
    temperature: float = 0.1


class SimClr(MelTransformer):
    """The Transformer; the projection is in `scaffold`, which only pretraining needs."""

    prepare_seconds = 0.0
    scaffold: nn.Module
    configs: ClassVar = {
        "mini": SimClrConfig(stack=2, width=160, layers=3, heads=4, feedforward=480, dropout=0.0),
        "base": SimClrConfig(layers=3),
    }
    pretraining: ClassVar = {
        "mini": Pretraining(steps=240, batch=24, seconds=1.5, learning_rate=1e-3),
        "base": Pretraining(steps=200_000, batch=128, seconds=8.0, learning_rate=2e-4),
    }

    def __init__(self, config: SimClrConfig) -> None:
        super().__init__(config)
        self.config = config

    def prepare(self, waves: Sequence[Tensor], seed: int, teacher: Upstream | None) -> None:
        """Adds the projection."""
        if teacher is not None:
            raise CommandError("simclr learns from sound alone; leave out --teacher.")
        width = self.config.width
        self.scaffold = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, self.config.projection))

    def loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Computes NT-Xent of two views of each utterance."""
        views_of = [self.scaffold(self.embedding(*self.view(waves, lengths))) for _ in range(2)]
        return contrast(views_of[0].float(), views_of[1].float(), self.config.temperature)

    def view(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Draws a view, an altered piece of each utterance: (batch, time, mel), (batch) frames."""
        config = self.config
        waves, lengths = views.cropped(waves, lengths, config.piece)
        waves = views.gained(views.mixed(waves, lengths, config.loud, config.quiet), config.gain)
        mel, frames = self.mel(waves, lengths)
        return views.masked(mel, frames, config.bins, config.spans, config.span, config.bands), frames

    def embedding(self, mel: Tensor, frames: Tensor) -> Tensor:
        """Returns (batch, width): the mean of the last layer over the frames of each utterance."""
        return views.pooled(self.states(mel, self.inside(mel, frames))[-1], frames)


def contrast(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Computes NT-Xent (Chen et al., equation 1) of two views (batch, dim).

    Each of the 2 · batch vectors is matched, by cosine, with its other view among the 2 · batch - 1 other vectors.
    """
    both = nn.functional.normalize(torch.cat([one, other]), dim=1)
    alike = both @ both.T / temperature
    alike.fill_diagonal_(float("-inf"))
    count = len(one)
    partner = torch.arange(2 * count, device=one.device).roll(count)
    return nn.functional.cross_entropy(alike, partner)
