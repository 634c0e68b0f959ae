"""Waves of a padded batch, each taken for itself: normalised over its own samples, passed with others of its length alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from superbench import Features


def normalised(waves: Tensor, lengths: Tensor, epsilon: float) -> Tensor:
    """Each wave with zero mean and unit variance (plus `epsilon`) over its own samples, zeros after it."""
    normal = torch.zeros_like(waves)
    for row, length in enumerate(lengths.tolist()):
        wave = waves[row, :length]
        normal[row, :length] = (wave - wave.mean()) / torch.sqrt(wave.var(correction=0) + epsilon)
    return normal


def without_padding(waves: Tensor, lengths: Tensor, states: Callable[[Tensor], Tensor]) -> Features:
    """Rows of equal length pass together, cut to that length; `states` takes (batch, samples) to (layer, batch, time, dim).

    For models that let padding into their features and have no way to mask it.
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
