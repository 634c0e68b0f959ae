"""Finds series of checkpoints among rows: models of one size whose names, or files, end in the number of their update."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from superbench.results.rows import Row

FEWEST = 3
"""Rows of a series: two names may end in numbers by chance."""
_NUMBERED = re.compile(r"(?P<stem>.*\D)(?P<number>\d{1,12})(?P<thousands>k?)(\.\w*[a-z]\w*)?", re.DOTALL)


def numbered(name: str) -> tuple[str, int] | None:
    """Return the rest of a name and the number of updates at its end; None if there is no number.

    >>> numbered("apc-2000"), numbered("apc@step_10k.safetensors"), numbered("apc")
    (('apc-', 2000), ('apc@step_', 10000), None)
    """
    found = _NUMBERED.fullmatch(name)
    return (found["stem"], int(found["number"]) * (1000 if found["thousands"] else 1)) if found else None


def series_of(rows: Sequence[Row]) -> Mapping[int, tuple[str, int]]:
    """Return `id(row)` -> (series, updates) of rows that are checkpoints of one model: at least three of the same size, whose
    names (else the files of their specs) differ only in the number of updates at the end."""
    found: dict[tuple[object, ...], dict[int, int]] = {}
    for row in rows:
        if row.params and (parts := numbered(row.name) or numbered(_spec(row))):
            found.setdefault((parts[0], row.params, row.layers, row.dim), {})[id(row)] = parts[1]
    return {
        row: (str(key[0]).rstrip("-_@:. /"), updates)
        for key, members in found.items()
        if len(set(members.values())) >= FEWEST
        for row, updates in members.items()
    }


def _spec(row: Row) -> str:
    return next((result.environment.get("spec", "") for result in row.results.values()), "")
