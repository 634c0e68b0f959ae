"""Options of a run that take several values, as callers in Python give them: one value or a text in their place is an error."""

from __future__ import annotations

from collections.abc import Sequence

from superbench.contract import Shots
from superbench.system.ranges import require_number, require_whole, several


def rates_of(rates: Sequence[float]) -> tuple[float, ...]:
    """Returns learning rates; raises `CommandError` for one that is no number above 0."""
    listed = several("--lr", rates, "learning_rates=(1e-3, 1e-4)")
    for rate in listed:
        require_number("--lr", rate, above=0)
    return tuple(map(float, listed))


def seeds_of(seeds: Sequence[int]) -> tuple[int, ...]:
    """Returns the seeds in order; raises `CommandError` for one that is no whole number."""
    listed = several("--seeds", seeds, "seeds=(0, 1, 2)")
    for seed in listed:
        require_whole("--seeds", seed)
    return tuple(sorted(listed))


def shots_of(shots: Sequence[Shots]) -> tuple[Shots, ...]:
    """Returns numbers of examples; raises `CommandError` for a single value."""
    return several("--shots", shots, 'shots=(0, 1, 5, "all")')


def names_of(names: Sequence[str] | str) -> Sequence[str]:
    """Returns names; a text is one name."""
    return [names] if isinstance(names, str) else names
