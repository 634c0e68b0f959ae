"""The Transformer over log-mel frames of Mockingjay, TERA and SimCLR, without their objectives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE, Features
from upstream.shared.mel import LogMel


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes; `stack` frames of 10 ms are stacked."""

    bins: int = 80
    stack: int = 1
    width: int = 768
    layers: int = 12
    heads: int = 12
    feedforward: int = 3072
    dropout: float = 0.1


class MelTransformer(nn.Module):
    """Hidden states (layers + 1, batch, time, width): the normalised input representation, then each layer's output.

    Post-norm layers with GELU and sinusoidal positions, as in BERT (Devlin et al. 2019); padded frames are masked in
    attention.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.mel = LogMel(config.bins, config.stack)
        self.sample_rate, self.hop, self.layers, self.dim = SAMPLE_RATE, self.mel.hop, config.layers + 1, config.width
        self.project = nn.Linear(self.mel.dim, config.width)
        self.norm = nn.LayerNorm(config.width, eps=1e-12)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width, config.heads, config.feedforward, config.dropout, "gelu", layer_norm_eps=1e-12, batch_first=True
            )
            for _ in range(config.layers)
        )

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch."""
        mel, frames = self.mel(waves, lengths)
        inside = self.inside(mel, frames)
        return Features(torch.stack(self.states(mel, inside)) * inside[..., None], frames)

    @staticmethod
    def inside(mel: Tensor, frames: Tensor) -> Tensor:
        """Returns (batch, time), true where a frame is valid."""
        return torch.arange(mel.shape[1], device=mel.device)[None] < frames[:, None]

    def states(self, mel: Tensor, inside: Tensor) -> list[Tensor]:
        """Returns the hidden states of normalised spectra (batch, time, mel)."""
        hidden = self.dropout(self.norm(self.project(mel) + positions(mel.shape[1], self.dim, mel.device)))
        states = [hidden]
        for block in self.blocks:
            hidden = block(hidden, src_key_padding_mask=~inside)
            states.append(hidden)
        return states


def positions(time: int, width: int, device: torch.device) -> Tensor:
    """Returns sinusoidal positions (time, width): sines in even, cosines in odd columns (Vaswani et al. 2017, section 3.5)."""
    time_index = torch.arange(time, device=device)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10_000) / width))[None]
    return torch.stack([torch.sin(time_index * rate), torch.cos(time_index * rate)], dim=-1).flatten(1)
