"""SpecAug on features in training (ASR, SF): a time warp, feature masks, time masks.

Paper: Park et al., "SpecAugment" (Interspeech 2019). Numbers and bounds: s3prl `downstream/specaug.py`, whose upper bounds are
exclusive.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SpecAug(nn.Module):
    """Warps and masks (batch, time, dim) in training mode; in evaluation mode the features are returned unchanged.

    Widths of masks are drawn from 0 … width - 1. A mask starts early enough for the widest mask of the batch to fit, as in the
    source; along time it may lie in the padding. Random numbers come from torch's generator on the CPU, so they are equal on
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
        """Returns features of the same shape."""
        if not self.training:
            return features
        batch, time, dim = features.shape
        warped = blended(features, *warp(lengths, time, self.warp))
        bands = masks(batch, dim, self.feature_masks, self.feature_width).to(features.device)
        stretches = masks(batch, time, self.time_masks, self.time_width).to(features.device)
        return warped.masked_fill(bands[:, None, :] | stretches[:, :, None], 0.0)


def warp(lengths: Tensor, time: int, window: int) -> tuple[Tensor, Tensor]:
    """Draws a time warp for utterances of `lengths`, padded to `time`: each frame is a weighted sum of four frames.

    Returns their numbers and weights, both (batch, time, 4). A random frame moves by less than about `window`, and both sides
    are stretched to fit (bicubic with repeated borders, as in `interpolate`). Padding gets zero weights; an utterance that is
    too short to be warped stays unchanged.
    """
    length = lengths[:, None]
    center, moved = torch.tensor([_drawn(count, window) for count in lengths.tolist()], device=lengths.device).T[:, :, None]
    position = torch.arange(time, device=lengths.device)
    after = position >= moved
    first, frames = torch.where(after, center, 0), torch.where(after, length - center, center)
    onto, size = torch.where(after, moved, 0), torch.where(after, length - moved, moved)
    source = (position - onto + 0.5).double() * frames / size - 0.5
    below = source.floor()
    beyond = (source - below)[..., None]
    shares = _cubic(torch.cat([1 + beyond, beyond, 1 - beyond, 2 - beyond], dim=-1))
    near = below[..., None].long() + torch.arange(-1, 3, device=lengths.device)
    inside = (position < length)[..., None]
    rows = first[..., None] + near.clamp(min=0).minimum((frames - 1)[..., None])
    return rows.where(inside, 0), shares.where(inside, 0.0)


def _drawn(length: int, window: int) -> tuple[int, int]:
    """Draws a frame and its new position; both are the end if the utterance is too short, which then stays unchanged."""
    if length - window <= window:
        return length, length
    center = int(torch.randint(window, length - window, ()))
    return center, int(torch.randint(center - window, center + window, ())) + 1


def _cubic(distance: Tensor, sharpness: float = -0.75) -> Tensor:
    """Computes Keys' convolution kernel at distances of 0 … 2 frames (IEEE Trans. ASSP 29, 1981, with a = -0.75)."""
    a, x = sharpness, distance
    return torch.where(x <= 1, ((a + 2) * x - (a + 3)) * x * x + 1, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a)


def blended(features: Tensor, rows: Tensor, shares: Tensor) -> Tensor:
    """Returns frames (batch, time, dim): sums of `rows` (batch, time, few) of `features`, weighted by `shares`."""
    batch, time, few = rows.shape
    first = torch.arange(batch, device=rows.device)[:, None, None] * features.shape[1]
    bags, weights = (rows + first).view(-1, few), shares.to(features.dtype).view(-1, few)
    frames = F.embedding_bag(bags, features.flatten(0, 1), per_sample_weights=weights, mode="sum")
    return frames.view(batch, time, -1)


def masks(batch: int, size: int, count: int, width: int) -> Tensor:
    """Draws `count` masks per row, (batch, size) bool; widths from U{0 … width - 1}, clipped only at the edge."""
    widths = torch.randint(0, width, (batch, count, 1))
    starts = torch.randint(0, max(1, size - int(widths.max())), (batch, count, 1))
    position = torch.arange(size)
    return ((position >= starts) & (position < starts + widths)).any(1)
