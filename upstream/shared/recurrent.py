"""The base of APC and VQ-APC: recurrent layers over log-mel frames that predict the spectrum a few frames ahead."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE, Features
from upstream.shared.gru import Gru
from upstream.shared.mel import LogMel


@dataclass(frozen=True)
class RecurrentConfig:
    """Sizes; `ahead` is in frames of `stack` · 10 ms."""

    bins: int = 80
    stack: int = 1
    width: int = 512
    layers: int = 3
    dropout: float = 0.1
    ahead: int = 5


class RecurrentPredictor(nn.Module):
    """Hidden states: the outputs of the recurrent layers, (layers, batch, time, width)."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config.bins, config.stack)
        self.sample_rate, self.hop, self.layers, self.dim = SAMPLE_RATE, self.mel.hop, config.layers, config.width
        widths = [self.mel.dim] + [config.width] * config.layers
        self.recurrent = nn.ModuleList(Gru(widths[i], widths[i + 1]) for i in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)
        self.predict = nn.Linear(config.width, self.mel.dim)

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states; the layers are causal, so padding at the end changes nothing."""
        mel, frames = self.mel(waves, lengths)
        inside = (torch.arange(mel.shape[1], device=mel.device)[None] < frames[:, None])[..., None]
        return Features(torch.stack(self.states(mel)) * inside, frames)

    def loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Computes the mean absolute error of the spectrum `ahead` frames later, over valid frames."""
        mel, frames = self.mel(waves, lengths)
        ahead = self.config.ahead
        predicted = self.predicted(self.states(mel)[-1][:, :-ahead])
        inside = torch.arange(predicted.shape[1], device=mel.device)[None] < (frames - ahead)[:, None]
        errors = (predicted - mel[:, ahead:]).abs().mean(-1)
        return (errors * inside).sum() / inside.sum().clamp(min=1)

    def predicted(self, state: Tensor) -> Tensor:
        """Predicts the spectrum (batch, time, mel) from the last hidden state."""
        return self.predict(state)

    def states(self, mel: Tensor) -> list[Tensor]:
        """Returns the output of each layer for a spectrum (batch, time, mel)."""
        states: list[Tensor] = []
        hidden = mel
        for layer in self.recurrent:
            output, _ = layer(hidden)
            output = self.dropout(output)
            hidden = output + hidden if hidden.shape == output.shape else output  # a residual connection if sizes agree
            states.append(hidden)
        return states
