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
        warped = blended(features, *warp(lengths, time, self.warp))
        bands = masks(batch, dim, self.feature_masks, self.feature_width).to(features.device)
        stretches = masks(batch, time, self.time_masks, self.time_width).to(features.device)
        return warped.masked_fill(bands[:, None, :] | stretches[:, :, None], 0.0)


def warp(lengths: Tensor, time: int, window: int) -> tuple[Tensor, Tensor]:
    """Of which four frames, and by how much of each, every frame is made when utterances of `lengths`, padded to `time`, are
    warped: twice (batch, time, 4).

    A random frame moves by less than `window` or so, and both sides are stretched to fit (bicubic, as `interpolate` has it,
    whose borders repeat); padding is made of nothing, and an utterance too short to be warped of its own frames.
    """
    length = lengths[:, None]
    center, moved = torch.tensor([_drawn(one, window) for one in lengths.tolist()], device=lengths.device).T[:, :, None]
    place = torch.arange(time, device=lengths.device)
    after = place >= moved
    first, frames = torch.where(after, center, 0), torch.where(after, length - center, center)
    onto, wanted = torch.where(after, moved, 0), torch.where(after, length - moved, moved)
    source = (place - onto + 0.5).double() * frames / wanted - 0.5
    below = source.floor()
    beyond = (source - below)[..., None]
    shares = _cubic(torch.cat([1 + beyond, beyond, 1 - beyond, 2 - beyond], dim=-1))
    near = below[..., None].long() + torch.arange(-1, 3, device=lengths.device)
    inside = (place < length)[..., None]
    rows = first[..., None] + near.clamp(min=0).minimum((frames - 1)[..., None])
    return rows.where(inside, 0), shares.where(inside, 0.0)


def _drawn(length: int, window: int) -> tuple[int, int]:
    """A frame, and where it moves to; the end where an utterance is too short, all of which is then stretched by nothing."""
    if length - window <= window:
        return length, length
    center = int(torch.randint(window, length - window, ()))
    return center, int(torch.randint(center - window, center + window, ())) + 1


def _cubic(distance: Tensor, sharpness: float = -0.75) -> Tensor:
    """Keys' convolution kernel at distances of 0 … 2 frames (IEEE Trans. ASSP 29, 1981, with a = -0.75)."""
    a, x = sharpness, distance
    return torch.where(x <= 1, ((a + 2) * x - (a + 3)) * x * x + 1, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a)


def blended(features: Tensor, rows: Tensor, shares: Tensor) -> Tensor:
    """Frames (batch, time, dim) that are sums of `rows` (batch, time, few) of `features` times their `shares`."""
    batch, time, few = rows.shape
    first = torch.arange(batch, device=rows.device)[:, None, None] * features.shape[1]
    bags, weights = (rows + first).view(-1, few), shares.to(features.dtype).view(-1, few)
    frames = F.embedding_bag(bags, features.flatten(0, 1), per_sample_weights=weights, mode="sum")
    return frames.view(batch, time, -1)


def masks(batch: int, size: int, count: int, width: int) -> Tensor:
    """Where `count` masks per row lie, (batch, size) bool; widths from U{0 … width - 1}, clipped by nothing but the edge."""
    widths = torch.randint(0, width, (batch, count, 1))
    starts = torch.randint(0, max(1, size - int(widths.max())), (batch, count, 1))
    place = torch.arange(size)
    return ((place >= starts) & (place < starts + widths)).any(1)
