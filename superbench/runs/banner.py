"""What a run is about to do, in a few lines: jobs, protocol, corpora, expected time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from superbench.errors import first_of
from superbench.runs.pace import Work

if TYPE_CHECKING:
    from superbench.runs.asked import Asked
    from superbench.runs.jobs import Job

CPU_SECONDS = 4e-4
"""Seconds of one core for one unit of a job's cost (`runner.OTHER_WORK`), measured on two shared cores."""


def banner(checked: Asked, given: Path, shares: Mapping[Job, float], processes: int) -> list[str]:
    """Returns the lines; `given`: the folder of the corpora as the person gave it; `shares`: the cost of each job. If earlier
    runs tell how long the jobs take (`Work`), the display does, and no line estimates it from their costs."""
    options, corpora = checked.options, checked.corpora
    names = [spec.alias for spec in checked.specs]
    steps = [f"{name} {options.recipe(task).steps:,}".replace(",", " ") for name, task in checked.tasks.items()]
    updates = f"updates: {first_of(steps, 10)}" if options.trains else "nothing is trained"
    kind = "miniature corpora that superbench wrote" if corpora.synthetic else "taken for real ones, as it has no miniatures"
    inside = "" if corpora.root.resolve() == given.resolve() else f" ({given} is a part of them)"
    count = f"{len(shares)} {'job' if len(shares) == 1 else 'jobs'}"
    lines = [
        f"{count}: {first_of(names)} on {', '.join(checked.tasks)}, on {options.device}",
        f"protocol {', '.join(sorted({options.of(task.card).protocol for task in checked.tasks.values()}))} ({updates})",
    ]
    if not all(task.card.is_own for task in checked.tasks.values()):
        lines.append(f"corpora: {corpora.root}, {kind}{inside}")
    is_known = isinstance(shares, Work) and bool(shares.seconds or shares.guesses)
    return lines if is_known else [*lines, f"expected time: {_expected(checked, shares, processes)}"]


def _expected(checked: Asked, shares: Mapping[Job, float], processes: int) -> str:
    once = "one pass of the sound through each model"
    if checked.options.device != "cpu":
        return f"{once}, and the training of the heads; --dry-run estimates it on this device"
    seconds = sum(shares.values()) * CPU_SECONDS / max(processes, 1)
    work = "the heads" if checked.options.trains else "the answers"
    return f"very roughly {in_words(seconds)} for {work}, and {once}; --dry-run measures the sound"


def in_words(seconds: float) -> str:
    """Returns a time with one or two digits.

    >>> in_words(24.8), in_words(2572.0), in_words(80_012.0), in_words(400_000.0)
    ('25 s', '43 min', '22 h', '4.6 days')
    """
    for most, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < most:
            return f"{float(f'{seconds / divisor:.2g}'):g} {unit}"
    return f"{float(f'{seconds / 86400:.2g}'):g} days"
