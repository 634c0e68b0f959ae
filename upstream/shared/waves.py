"""The front end of wave models: seven convolutions, and positions by a convolution over frames.

Baevski, Zhou, Mohamed, Auli (2020), wav2vec 2.0, arXiv 2006.11477: one frame every 20 ms from 25 ms of sound. The group
normalisation of the first layer leaves padding out (see group_norm.py).
"""

from __future__ import annotations

from torch import Tensor, nn

from upstream.shared.group_norm import Front, kept

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


class Convolution(nn.Module):
    """Convolution without bias, in the first layer one group norm per channel, GELU."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, normalised: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(before, after, kernel, stride, bias=False)
        nn.init.kaiming_normal_(self.conv.weight)
        self.layer_norm = nn.GroupNorm(after, after) if normalised else None

    def forward(self, hidden: Tensor) -> Tensor:
        """Maps (batch, channel, time) → fewer frames."""
        hidden = self.conv(hidden)
        return nn.functional.gelu(hidden if self.layer_norm is None else self.layer_norm(hidden))


class Convolutions(nn.Module):
    """Waves (batch, samples) and lengths → (batch, time, channels) and frames of each; a sound shorter than 25 ms is padded."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        shapes = zip(KERNELS, STRIDES, strict=True)
        self.layers = nn.ModuleList(
            Convolution(channels if i else 1, channels, kernel, stride, i == 0) for i, (kernel, stride) in enumerate(shapes)
        )
        self.front = Front(self.layers)
        self.hop = self.front.hop

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns frames and their numbers; frames beyond the end of an utterance are zero."""
        waves, lengths = self.front.fitted(waves, lengths)
        hidden = waves[:, None]
        with self.front.only_valid(lengths):
            for layer in self.layers:
                hidden = layer(hidden)
        frames = self.front.frames(lengths)
        hidden = hidden.transpose(1, 2)
        return hidden * kept(frames, hidden.shape[1])[..., None], frames


class ConvolutionalPositions(nn.Module):
    """Positional embedding from neighbouring frames: a grouped, weight-normalised convolution over (batch, time, width), GELU.

    The caller sets frames beyond the end of an utterance to zero before, and adds the result to the frames.
    """

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        convolution = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)
        nn.init.normal_(convolution.weight, std=(4 / (kernel * width)) ** 0.5)
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        self.convolution = nn.utils.parametrizations.weight_norm(convolution, dim=2)

    def forward(self, frames: Tensor) -> Tensor:
        """Returns the same shape."""
        return nn.functional.gelu(self.convolution(frames.transpose(1, 2))[..., : frames.shape[1]]).transpose(1, 2)
