"""Memory that is free goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Ask the allocator to let go of what it keeps for later: glibc's holds on to hundreds of megabytes after work in pieces of
    many sizes (shards, batches, jobs). Takes milliseconds; does nothing where another allocator is at work."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
