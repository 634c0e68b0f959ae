"""BYOL for speech: a network predicts the output of its own moving average for another view of the utterance; no negatives.

Grill et al. (2020), "Bootstrap your own latent", arXiv 2006.07733; for sound: Niizumi, Takeuchi, Ohishi, Harada, Kashino
(2021), "BYOL for audio" (BYOL-A), arXiv 2103.06695. A view of a log-mel spectrum: another utterance mixed under it, a gain, a
random resize crop. Three blocks of convolutions, two layers per frame, then mean and maximum over time; projection, predictor
and moving average (the target) are dropped afterwards. `base` has the network and the number of weights of BYOL-A's
2048-dimensional encoder (64 bands, 64 channels, 5.32 M weights), but pools less over time: BYOL-A gives one vector a second
(the published row), this model gives one for each frame of 20 ms, so that all ten tasks can use it. Two hidden states: the two
layers.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE, CommandError, Features, Pretraining, Upstream
from upstream.shared import views
from upstream.shared.mel import LogMel


@dataclass(frozen=True)
class ByolConfig:
    """Sizes; `average` is the share of the target that is kept at each update; the rest determines how much two views differ.

    `loud`, `quiet`: decibels of the utterance that is mixed under a view; `gain` in decibels; `time`, `bands`: window sizes.
    """

    bins: int = 64
    channels: int = 64
    width: int = 2048
    dropout: float = 0.3
    hidden: int = 4096
    projection: int = 256
    average: float = 0.99
    loud: float = 3.0
    quiet: float = 15.0
    gain: float = 6.0
    time: tuple[float, float] = (0.6, 1.5)
    bands: tuple[float, float] = (0.6, 1.5)


class Block(nn.Module):
    """3 × 3 convolution, batch normalisation, ReLU; pools neighbouring bands, and `pool` neighbouring frames."""

    def __init__(self, before: int, after: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.convolution = nn.Conv2d(before, after, 3, padding=1)
        self.norm = nn.BatchNorm2d(after)
        self.shrink = nn.MaxPool2d((pool, 2))

    def forward(self, hidden: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (batch, channel, time, band) → half the bands.

        Frames beyond an utterance's end are zero, as in a batch of one.
        """
        hidden = self.norm(self.convolution(hidden))
        # Max pooling before ReLU gives the same result with less work. On a CPU it is several times as fast with channels last.
        hidden = torch.relu(self.shrink(hidden.contiguous(memory_format=torch.channels_last)).contiguous())
        frames = frames // self.pool
        inside = torch.arange(hidden.shape[2], device=hidden.device)[None] < frames[:, None]
        return hidden * inside[:, None, :, None], frames


class Encoder(nn.Module):
    """Log-mel (batch, time, bins) → both hidden states (batch, time / 2, width)."""

    POOLS = (2, 1, 1)

    def __init__(self, config: ByolConfig) -> None:
        super().__init__()
        channels = config.channels
        self.blocks = nn.ModuleList(Block(channels if i else 1, channels, pool) for i, pool in enumerate(self.POOLS))
        self.first = nn.Linear(channels * (config.bins // 2 ** len(self.POOLS)), config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.second = nn.Linear(config.width, config.width)

    def forward(self, mel: Tensor, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns the states and their numbers of frames."""
        hidden = mel[:, None]
        for block in self.blocks:
            hidden, frames = block(hidden, frames)
        first = torch.relu(self.first(hidden.transpose(1, 2).flatten(2)))
        return [first, torch.relu(self.second(self.dropout(first)))], frames


class Byol(nn.Module):
    """The online encoder; `scaffold` has the modules that only pretraining needs."""

    prepare_seconds = 0.0
    scaffold: nn.ModuleDict
    configs: ClassVar = {
        "mini": ByolConfig(channels=24, width=256, dropout=0.0, hidden=512, projection=128, average=0.98),
        "base": ByolConfig(),
    }
    pretraining: ClassVar = {
        "mini": Pretraining(steps=180, batch=24, seconds=1.0, learning_rate=1e-3),
        "base": Pretraining(steps=200_000, batch=256, seconds=1.0, learning_rate=3e-4),
    }

    def __init__(self, config: ByolConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config.bins, 2)  # pairs of frames; the encoder splits them and returns one frame for each pair
        self.sample_rate, self.hop, self.layers, self.dim = SAMPLE_RATE, self.mel.hop, 2, config.width
        self.encoder = Encoder(config)

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch."""
        mel, frames = self.spectrum(waves, lengths)
        states, frames = self.encoder(mel, frames)
        inside = torch.arange(states[0].shape[1], device=mel.device)[None] < frames[:, None]
        return Features(torch.stack(states) * inside[..., None], frames)

    def prepare(self, waves: Sequence[Tensor], seed: int, teacher: Upstream | None) -> None:
        """Adds projection and predictor, and the target as a copy."""
        if teacher is not None:
            raise CommandError("byol is its own teacher; leave out --teacher.")
        width, hidden, out = self.config.width, self.config.hidden, self.config.projection
        online = nn.ModuleDict({"encoder": self.encoder, "project": _layers(width, hidden, out)})
        target = copy.deepcopy(online).requires_grad_(False)
        self.scaffold = nn.ModuleDict({"project": online["project"], "predict": _layers(out, hidden, out), "target": target})

    def loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Computes the mean over the batch and both directions of 2 - 2 cos(prediction from one view, target of the other)."""
        scaffold, losses = self.scaffold, []
        target: Any = scaffold["target"]
        two = [self.view(waves, lengths) for _ in range(2)]
        for (mel, frames), (other_mel, other_frames) in (two, two[::-1]):
            predicted = scaffold["predict"](scaffold["project"](self.embedding(self.encoder, mel, frames)))
            with torch.no_grad():
                goal = target["project"](self.embedding(target["encoder"], other_mel, other_frames))
            losses.append(2 - 2 * nn.functional.cosine_similarity(predicted.float(), goal.float()))
        return torch.stack(losses).mean()

    @torch.no_grad()
    def after_update(self) -> None:
        """Updates the target: average · target + (1 - average) · online."""
        online = nn.ModuleDict({"encoder": self.encoder, "project": self.scaffold["project"]})
        for goal, weight in zip(self.scaffold["target"].parameters(), online.parameters(), strict=True):
            goal.lerp_(weight, 1 - self.config.average)

    def spectrum(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the log-mel spectrum (batch, time, bins) with an even number of frames."""
        pairs, frames = self.mel(waves, lengths)
        return pairs.reshape(len(pairs), -1, self.config.bins), frames * 2

    def view(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Draws a view, an altered spectrum of each utterance, and its number of frames."""
        config = self.config
        waves = views.gained(views.mixed(waves, lengths, config.loud, config.quiet), config.gain)
        mel, frames = self.spectrum(waves, lengths)
        return views.resized(mel, frames, config.time, config.bands), frames

    @staticmethod
    def embedding(encoder: nn.Module, mel: Tensor, frames: Tensor) -> Tensor:
        """Returns (batch, width): mean plus maximum over time, as in BYOL-A."""
        states, frames = encoder(mel, frames)
        inside = torch.arange(states[-1].shape[1], device=mel.device)[None] < frames[:, None]
        return views.pooled(states[-1], frames) + (states[-1] * inside[..., None]).amax(1)


def _layers(before: int, hidden: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, after))
