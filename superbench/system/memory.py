"""Memory: the most that a piece of work takes, and giving back what is free."""

from __future__ import annotations

import contextlib
import ctypes
import resource
from collections.abc import Iterator
from pathlib import Path

import torch


def give_back() -> None:
    """Ask the allocator to let go of what it keeps for later: glibc's holds on to hundreds of megabytes after work in pieces of
    many sizes (shards, batches, jobs). Takes milliseconds; does nothing where another allocator is at work."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


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
