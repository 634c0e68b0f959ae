"""Random numbers that depend only on a seed, not on earlier draws."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seeds torch from `numbers` inside the block; after the block, the earlier random state is restored.

    >>> with seeded(1, 2): a = torch.rand(1)
    >>> with seeded(1, 2): b = torch.rand(1)
    >>> bool(a == b)
    True
    """
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + number * 1442695040888963407 + 1013904223) % 2**63
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(mixed)  # torch.manual_seed notes a stack trace for every device type not in use
        if devices:
            torch.cuda.manual_seed(mixed)
        yield
