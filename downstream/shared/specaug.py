"""SpecAug on features in training (ASR, SF): a warp in time, masked feature bands, masked stretches of time.

Paper: Park et al., "SpecAugment" (Interspeech 2019). Numbers and bounds: s3prl `downstream/specaug.py`, whose upper bounds are
exclusive.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SpecAug(nn.Module):
    """Warps and masks (batch, time, dim) in training mode; in evaluation mode the features pass unchanged.

    Widths of masks are drawn from 0 … width - 1. A mask starts early enough for the widest one drawn in the batch to fit, as
    in the source; along time it may lie in the padding. Draws come from torch's own generator on the CPU, so they agree on
    every device.
    """

    def __init__(
        self, *, warp: int = 5, feature_masks: int = 4, feature_width: int = 50, time_masks: int = 2, time_width: int = 40
    ) -> None:
        super().__init__()
        self.warp = warp
        self.feature_masks, self.feature_width = feature_masks, feature_width
        self.time_masks, self.time_width = time_masks, time_width

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features of the same shape."""
        if not self.training:
            return features
        batch, time, dim = features.shape
        warps = torch.stack([warp(length, time, self.warp, features.device) for length in lengths.tolist()])
        warped = torch.bmm(warps.to(features.dtype), features)
        bands = masks(batch, dim, self.feature_masks, self.feature_width).to(features.device)
        stretches = masks(batch, time, self.time_masks, self.time_width).to(features.device)
        return warped.masked_fill(bands[:, None, :] | stretches[:, :, None], 0.0)


def warp(length: int, time: int, window: int, device: torch.device | str = "cpu") -> Tensor:
    """How an utterance of `length` frames, padded to `time`, is warped: (time, time), to be multiplied with its features.

    A random frame moves by less than `window` or so, and both sides are stretched to fit (bicubic); padding becomes zero. A
    matrix, because interpolating the features themselves takes four times as long where a gradient is wanted.
    """
    matrix = torch.zeros(time, time, device=device)
    if length - window <= window:
        matrix[:length, :length] = torch.eye(length, device=device)
        return matrix
    center = int(torch.randint(window, length - window, ()))
    moved = int(torch.randint(center - window, center + window, ())) + 1
    matrix[:moved, :center] = _stretching(center, moved, device)
    matrix[moved:length, center:length] = _stretching(length - center, length - moved, device)
    return matrix


def _stretching(frames: int, wanted: int, device: torch.device | str) -> Tensor:
    """(wanted, frames): each wanted frame as a sum of the frames that are there."""
    return F.interpolate(torch.eye(frames, device=device)[None, None], (wanted, frames), mode="bicubic", align_corners=False)[
        0, 0
    ]


def masks(batch: int, size: int, count: int, width: int) -> Tensor:
    """Where `count` masks per row lie, (batch, size) bool; widths from U{0 … width - 1}, clipped by nothing but the edge."""
    widths = torch.randint(0, width, (batch, count, 1))
    starts = torch.randint(0, max(1, size - int(widths.max())), (batch, count, 1))
    place = torch.arange(size)
    return ((place >= starts) & (place < starts + widths)).any(1)
