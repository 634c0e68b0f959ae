"""What a task hands to the official leaderboard: files below `predict/`, and what a person must know of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Upload:
    """`files`: path below `predict/` -> content. `remarks`: what the files cannot say, one sentence each."""

    files: Mapping[str, bytes]
    remarks: tuple[str, ...] = ()
