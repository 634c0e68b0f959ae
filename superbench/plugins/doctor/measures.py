"""How far two tensors are apart, and what a model's weights are."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn


def difference(one: Tensor, other: Tensor) -> float:
    """Largest absolute difference over the largest value; infinite if the shapes differ or a NaN is in only one of them."""
    if one.shape != other.shape or not torch.equal(torch.isfinite(one), torch.isfinite(other)):
        return float("inf")
    one, other = torch.nan_to_num(one, 0.0, 0.0, 0.0), torch.nan_to_num(other, 0.0, 0.0, 0.0)
    return float((one - other).abs().max() / one.abs().max().clamp(min=1e-12)) if one.numel() else 0.0


def weights(model: Any) -> dict[str, str]:
    """Parameters and buffers, also those that are not saved, by their digests."""
    if not isinstance(model, nn.Module):
        return {}
    found = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        plain = tensor.detach().cpu().contiguous().flatten()
        found[name] = hashlib.blake2b(plain.view(torch.uint8).numpy().tobytes(), digest_size=16).hexdigest()
    return found
