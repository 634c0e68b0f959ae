"""Memory: measures the peak of a block, and returns free memory to the operating system."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

ALLOCATION = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")
"""What messages say of memory that could not be allocated."""


def give_back() -> None:
    """Returns free memory of the allocator to the operating system. After allocations of many sizes (shards, batches, jobs),
    the allocator of glibc keeps hundreds of megabytes. Takes milliseconds; has no effect with other allocators."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def total_memory() -> int:
    """Returns the bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory could not be allocated, on a GPU or on a CPU, of which torch says it in a
    `RuntimeError`."""
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in ALLOCATION)
    )


@contextlib.contextmanager
def allocation_errors() -> Iterator[None]:
    """Raises `torch.OutOfMemoryError` in place of every other error that says that memory could not be allocated."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, torch.OutOfMemoryError) or not is_out_of_memory(error):
            raise
        raise torch.OutOfMemoryError(str(error)) from error


@contextlib.contextmanager
def peak(device: str) -> Iterator[dict[str, int]]:
    """Measures the peak memory of the block in bytes, beyond the memory in use before; after the block it is under `peak`.

    On a CPU the high-water mark of the process is reset, if the system allows it. The value is a lower bound: memory that the
    process freed before, but did not return to the system, is not counted.
    """
    measured = {"peak": 0}
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield measured
        measured["peak"] = torch.cuda.max_memory_allocated() - before
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    yield measured
    measured["peak"] = max(_resident("VmHWM") - before, 0)


def _resident(field_: str) -> int:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field_)).split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
