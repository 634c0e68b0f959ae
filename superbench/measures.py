"""How far two tensors are apart, what a model's weights are, how much memory a piece of work takes."""

from __future__ import annotations

import contextlib
import hashlib
import resource
from collections.abc import Iterator
from pathlib import Path
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


@contextlib.contextmanager
def peak(device: str) -> Iterator[dict[str, int]]:
    """Bytes that the block takes at its peak beyond what was taken before, under `peak` once it is over.

    On a CPU the high-water mark of the process is reset where the system allows it. What is found is a lower bound: memory that
    the process has freed before and still holds costs nothing.
    """
    found = {"peak": 0}
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield found
        found["peak"] = torch.cuda.max_memory_allocated() - before
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    yield found
    found["peak"] = max(_resident("VmHWM") - before, 0)


def _resident(field_: str) -> int:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field_)).split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
