"""CPC, contrastive predictive coding, in its modified form: the model distinguishes the true future frame from other frames.

van den Oord, Li, Vinyals (2018), arXiv 1807.03748; Rivière, Joulin, Mazaré, Dupoux (2020), "Unsupervised pretraining transfers
well across languages", arXiv 2002.02848, which normalises channels, and predicts each future step with a small Transformer.
Five convolutions over the wave, an LSTM over their output; 12 steps ahead, each with 128 negatives from the same utterance (a
folder of sound names no speakers, but an utterance has one speaker). Two hidden states: convolutions, LSTM. `base` is the
published size (256 channels, 10 ms, 1.84 M weights without the predictors); `mini` has wider strides (20 ms).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE, Features, Pretraining


@dataclass(frozen=True)
class CpcConfig:
    """Sizes; `steps` frames ahead with `negatives` negatives; `heads`, `feedforward`, `dropout` of the predictors.

    A score is the mean product of prediction and frame, times `gain`.
    """

    width: int = 256
    kernels: tuple[int, ...] = (10, 8, 4, 4, 4)
    strides: tuple[int, ...] = (5, 4, 2, 2, 2)
    steps: int = 12
    negatives: int = 128
    heads: int = 8
    feedforward: int = 2048
    dropout: float = 0.1
    gain: float = 1.0


class ChannelNorm(nn.Module):
    """Normalises each frame to zero mean and unit variance over its channels (Rivière et al., section 3.1).

    No frame depends on another one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, channels, time) → the same shape."""
        variance, mean = torch.var_mean(x, dim=1, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + 1e-5) * self.weight + self.bias


class Encoder(nn.Module):
    """Waves → (batch, time, width). The input of every layer is padded with zeros on both sides, as in a batch of one."""

    def __init__(self, width: int, kernels: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.shapes = [(kernel, stride, (kernel - stride + 1) // 2) for kernel, stride in zip(kernels, strides, strict=True)]
        self.convolutions = nn.ModuleList(nn.Conv1d(width if i else 1, width, *shape) for i, shape in enumerate(self.shapes))
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in self.shapes)
        for convolution in self.convolutions:
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # otherwise the bias would dominate soft sound after normalisation

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns frames, zero beyond the end of each sound, and their number for each sound."""
        x = waves[:, None]
        for convolution, norm, shape in zip(self.convolutions, self.norms, self.shapes, strict=True):
            x = norm(convolution(x)).relu()
            kernel, stride, padding = shape
            lengths = torch.div(lengths + 2 * padding - kernel, stride, rounding_mode="floor") + 1
            x = x * _inside(lengths, x.shape[-1])[:, None]
        return x.transpose(1, 2), lengths


class Cpc(nn.Module):
    """Hidden states (2, batch, time, width): the convolutions' output, the LSTM's."""

    configs: ClassVar = {
        "mini": CpcConfig(
            width=96, kernels=(20, 8, 4, 4, 4), strides=(10, 4, 2, 2, 2), steps=6, negatives=32, heads=4, feedforward=192,
            dropout=0.0, gain=3.0,
        ),
        "base": CpcConfig(),
    }  # fmt: skip
    pretraining: ClassVar = {
        "mini": Pretraining(steps=400, batch=8, seconds=1.28, learning_rate=2e-3),
        "base": Pretraining(steps=150_000, batch=64, seconds=1.28, learning_rate=2e-4),
    }

    def __init__(self, config: CpcConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.hop, self.layers, self.dim = SAMPLE_RATE, prod(config.strides), 2, config.width
        self.encoder = Encoder(config.width, config.kernels, config.strides)
        self.context = nn.LSTM(config.width, config.width, batch_first=True)
        self.predictors = nn.ModuleList(
            nn.TransformerEncoderLayer(config.width, config.heads, config.feedforward, config.dropout, batch_first=True)
            for _ in range(config.steps)
        )

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch."""
        local, context, frames = self._states(waves, lengths)
        return Features(torch.stack([local, context * _inside(frames, local.shape[1])[..., None]]), frames)

    def loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Computes InfoNCE: cross-entropy of the true frame among the negatives, mean over steps and frames."""
        local, context, frames = self._states(waves, lengths)
        usable = local.shape[1] - self.config.steps  # positions that have all their future steps in the longest sound
        if usable < 1:
            return (context * 0).sum()
        inside = _inside(frames - self.config.steps, usable)
        future = nn.Transformer.generate_square_subsequent_mask(usable, device=waves.device)
        others = self._elsewhere(frames, usable)
        total = local.new_zeros(())
        for step, predictor in enumerate(self.predictors, start=1):
            predicted = predictor(context[:, :usable], src_mask=future, is_causal=True)
            scores = predicted @ local.transpose(1, 2) * (self.config.gain / self.dim)  # (batch, time, frame of the utterance)
            true = scores.diagonal(step, 1, 2)[..., None]
            errors = torch.cat([true, scores.gather(2, others)], dim=-1).logsumexp(-1) - true[..., 0]
            total = total + (errors * inside).sum() / inside.sum().clamp(min=1)
        return total / self.config.steps

    def _states(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        waves = nn.functional.pad(waves, (0, max(self.hop - waves.shape[1], 0)))
        local, frames = self.encoder(waves, lengths.clamp(min=self.hop))
        return local, self.context(local)[0], frames

    def _elsewhere(self, frames: Tensor, time: int) -> Tensor:
        """Draws random frames of the same utterance, `negatives` for each position: (batch, time, negatives)."""
        draws = torch.rand(len(frames), time, self.config.negatives, device=frames.device)
        return (draws * frames[:, None, None]).long()


def _inside(frames: Tensor, time: int) -> Tensor:
    """Returns (batch, time), 1 where a frame belongs to the sound."""
    return (torch.arange(time, device=frames.device) < frames[:, None]).float()
