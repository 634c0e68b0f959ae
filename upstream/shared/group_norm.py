"""Convolutions over padded sound with group normalisation over valid frames only.

HuBERT, wav2vec 2.0 and WavLM of base size normalise the output of their first convolution over time, one mean and one
variance per channel (GroupNorm with as many groups as channels). In a padded batch the zeros enter those statistics, so the
features of a sound would depend on the longest sound in its batch. Here the statistics use only valid frames. No convolution
pads, so no valid frame of another layer depends on a padded sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import cast

import torch
from torch import Tensor, nn


class ValidGroupNorm(nn.GroupNorm):
    """Group normalisation (Wu & He 2018, arXiv 1803.08494) whose statistics leave padded frames out.

    `valid` (batch) is the number of valid frames of each row of a padded batch. None: all frames are valid, and the result is
    that of `nn.GroupNorm`. Parameters have the same names, so checkpoints fit.
    """

    valid: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Maps (batch, channels, time) -> the same shape; frames beyond `valid` are finite but have no meaning."""
        if self.valid is None:
            return super().forward(input)
        grouped = input.unflatten(1, (self.num_groups, -1))  # (batch, group, channel, time)
        keep = kept(self.valid, input.shape[-1])[:, None, None]
        count = self.valid.clamp(min=1)[:, None, None, None] * grouped.shape[2]
        mean = (grouped * keep).sum((2, 3), keepdim=True) / count
        centred = grouped - mean
        variance = (centred * keep).square().sum((2, 3), keepdim=True) / count
        normal = (centred * torch.rsqrt(variance + self.eps)).flatten(1, 2)
        if not self.affine:
            return normal
        return normal * self.weight[:, None] + self.bias[:, None]


class Front:
    """Properties of the convolutions of a wave model: hop, receptive field, frames per sound, valid statistics.

    `layers` are blocks with a `conv` each; the first may have a GroupNorm called `layer_norm`, which is replaced.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        convolutions = [cast(nn.Conv1d, layer.conv) for layer in layers]
        self.shapes = [(conv.kernel_size[0], conv.stride[0]) for conv in convolutions]
        self.hop = prod(stride for _, stride in self.shapes)
        self.window = 1
        for kernel, stride in reversed(self.shapes):
            self.window = (self.window - 1) * stride + kernel
        self.norm = _replaced(layers[0])

    def frames(self, lengths: Tensor) -> Tensor:
        """Returns the numbers of frames for `lengths` samples; a sound shorter than `window` has none."""
        for kernel, stride in self.shapes:
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        return lengths.clamp(min=0)

    def fitted(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Cuts waves to the longest sound and pads sounds shorter than one window with zeros to one window."""
        lengths = lengths.to(waves.device).clamp(min=self.window)
        longest = int(lengths.max())
        return nn.functional.pad(waves[:, :longest], (0, max(longest - waves.shape[1], 0))), lengths

    @contextmanager
    def only_valid(self, lengths: Tensor) -> Iterator[None]:
        """Restricts the statistics to the frames of `lengths` samples inside the block."""
        if self.norm is None:
            yield
            return
        kernel, stride = self.shapes[0]
        self.norm.valid = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        try:
            yield
        finally:
            self.norm.valid = None


def kept(lengths: Tensor, time: int) -> Tensor:
    """Returns (batch, time), true where a frame is valid."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def _replaced(layer: nn.Module) -> ValidGroupNorm | None:
    norm = getattr(layer, "layer_norm", None)
    if not isinstance(norm, nn.GroupNorm):
        return None
    valid = ValidGroupNorm(norm.num_groups, norm.num_channels, norm.eps, norm.affine)
    valid.load_state_dict(norm.state_dict())
    layer.layer_norm = valid.train(norm.training)
    return valid
