"""Measures the difference of two tensors, and computes digests of a model's weights."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn


def difference(first: Tensor, second: Tensor) -> float:
    """Returns the largest absolute difference over the largest value of `first`; infinity if the shapes differ, or if a NaN is
    in only one of them."""
    if first.shape != second.shape or not torch.equal(torch.isfinite(first), torch.isfinite(second)):
        return float("inf")
    first, second = torch.nan_to_num(first, 0.0, 0.0, 0.0), torch.nan_to_num(second, 0.0, 0.0, 0.0)
    return float((first - second).abs().max() / first.abs().max().clamp(min=1e-12)) if first.numel() else 0.0


def weights(model: Any) -> dict[str, str]:
    """Returns digests of the parameters and buffers of a model by name, including buffers that are not saved."""
    if not isinstance(model, nn.Module):
        return {}
    digests = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        values = tensor.detach().cpu().contiguous().flatten()
        digests[name] = hashlib.blake2b(values.view(torch.uint8).numpy().tobytes(), digest_size=16).hexdigest()
    return digests
