"""The cores that a process may use."""

from __future__ import annotations

import os


def cores() -> int:
    """Returns the number of cores that this process may use (its affinity: `taskset`, Slurm and containers restrict it)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(processes: int) -> int:
    """Returns the cores of each of several processes that share those of this machine; at least one."""
    return max(cores() // max(processes, 1), 1)
