"""APC, autoregressive predictive coding: recurrent layers that predict the spectrum a few frames ahead.

Chung, Hsu, Tang, Glass (2019), "An unsupervised autoregressive model for speech representation learning", arXiv 1904.03240.
`base` is the published size (three GRU layers of 512 with residual connections, five frames of 10 ms ahead, 4.1 M weights).
`mini` reads two stacked frames (20 ms) and is meant for the miniature corpora.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE, Features, Pretraining
from upstream.shared.mel import LogMel


@dataclass(frozen=True)
class ApcConfig:
    """Sizes; `ahead` is in frames of `stack` · 10 ms."""

    bins: int = 80
    stack: int = 1
    width: int = 512
    layers: int = 3
    dropout: float = 0.1
    ahead: int = 5


class Apc(nn.Module):
    """Hidden states: the outputs of the recurrent layers, (layers, batch, time, width)."""

    configs: ClassVar = {"mini": ApcConfig(stack=2, width=256, dropout=0.0, ahead=3), "base": ApcConfig()}
    pretraining: ClassVar = {
        "mini": Pretraining(steps=500, batch=8, seconds=2.0, learning_rate=2e-3),
        "base": Pretraining(steps=100_000, batch=32, seconds=15.0, learning_rate=1e-4, whole_utterances=True),
    }

    def __init__(self, config: ApcConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config.bins, config.stack)
        self.sample_rate, self.hop, self.layers, self.dim = SAMPLE_RATE, self.mel.hop, config.layers, config.width
        widths = [self.mel.dim] + [config.width] * config.layers
        self.recurrent = nn.ModuleList(nn.GRU(widths[i], widths[i + 1], batch_first=True) for i in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)
        self.predict = nn.Linear(config.width, self.mel.dim)

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Hidden states; the layers look only backwards in time, so padding at the end reaches nothing."""
        mel, frames = self.mel(waves, lengths)
        inside = (torch.arange(mel.shape[1], device=mel.device)[None] < frames[:, None])[..., None]
        return Features(torch.stack(self._states(mel)) * inside, frames)

    def loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Mean absolute error of the spectrum `ahead` frames later, over real frames."""
        mel, frames = self.mel(waves, lengths)
        ahead = self.config.ahead
        predicted = self.predict(self._states(mel)[-1][:, :-ahead])
        inside = torch.arange(predicted.shape[1], device=mel.device)[None] < (frames - ahead)[:, None]
        errors = (predicted - mel[:, ahead:]).abs().mean(-1)
        return (errors * inside).sum() / inside.sum().clamp(min=1)

    def _states(self, mel: Tensor) -> list[Tensor]:
        states: list[Tensor] = []
        hidden = mel
        for layer in self.recurrent:
            output, _ = layer(hidden)
            output = self.dropout(output)
            hidden = output + hidden if hidden.shape == output.shape else output  # a residual where sizes agree
            states.append(hidden)
        return states
