"""The descendants of a process, and which of them still run, as /proc of Linux lists them."""

from __future__ import annotations

import contextlib
from pathlib import Path


def below(number: int) -> set[int]:
    """All descendants of a process."""
    found: set[int] = set()
    for place in Path(f"/proc/{number}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, place.read_text().split()):
                found |= {child} | below(child)
    return found


def alive(numbers: set[int]) -> set[int]:
    """Those that still run; a zombie has ended."""
    found = set()
    for number in numbers:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.add(number)
    return found
