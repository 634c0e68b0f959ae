"""Bounds what the construction of a model may allocate, if the configuration in its file names huge sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_NAMES = ("empty", "zeros", "ones", "full", "rand", "randn", "randint", "randperm", "arange", "linspace", "eye")
_MAKERS = {getattr(torch, name) for name in _NAMES}
"""Functions that make a tensor from sizes. The weights of every module of torch are made by one of them."""
SPARE_NUMBERS, SPARE_TENSORS = 20_000_000, 2_000
"""What a model may make beside its weights: parts of its pretraining, filter banks, windows."""


class BoundedAllocation(TorchFunctionMode):
    """Inside, the tensors that are made have at most twice as many numbers as `weights`, and `SPARE_NUMBERS`; the number of
    tensors is bounded alike. Raises `ValueError` before more is allocated."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.most = 2 * sum(tensor.numel() for tensor in weights.values()) + SPARE_NUMBERS
        self.most_tensors = 4 * len(weights) + SPARE_TENSORS
        self.numbers = self.tensors = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Counts a tensor before it is made; its size is that of a tensor without data."""
        given = dict(kwargs or {})
        if func in _MAKERS:
            bare = {key: value for key, value in given.items() if key not in ("device", "out", "generator", "pin_memory")}
            self.numbers += int(func(*args, **bare, device="meta").numel())
            self.tensors += 1
            if self.numbers > self.most or self.tensors > self.most_tensors:
                raise ValueError("it is larger than the weights in the file")
        return func(*args, **given)
