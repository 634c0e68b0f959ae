"""Functions that remove the effect of padding: normalise each wave over its samples, group waves of equal length."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from superbench import Features


def normalised(waves: Tensor, lengths: Tensor, epsilon: float) -> Tensor:
    """Normalises each wave to zero mean and unit variance (plus `epsilon`) over its samples, with zeros after it."""
    normal = torch.zeros_like(waves)
    for row, length in enumerate(lengths.tolist()):
        wave = waves[row, :length]
        normal[row, :length] = (wave - wave.mean()) / torch.sqrt(wave.var(correction=0) + epsilon)
    return normal


def without_padding(waves: Tensor, lengths: Tensor, states: Callable[[Tensor], Tensor]) -> Features:
    """Computes features of rows of equal length together, cut to this length.

    `states` maps (batch, samples) → (layer, batch, time, dim).
    For models whose features depend on padding and that cannot mask it.
    """
    parts: list[tuple[Tensor, Tensor]] = []
    for length in lengths.unique().tolist():
        rows = (lengths == length).nonzero()[:, 0]
        parts.append((rows, states(waves[rows, :length])))
    layers, _, _, dim = parts[0][1].shape
    longest = max(part.shape[2] for _, part in parts)
    frames = parts[0][1].new_zeros(layers, len(waves), longest, dim)
    counts = torch.zeros(len(waves), dtype=torch.long, device=frames.device)
    for rows, part in parts:
        frames[:, rows, : part.shape[2]] = part
        counts[rows] = part.shape[2]
    return Features(frames, counts)
