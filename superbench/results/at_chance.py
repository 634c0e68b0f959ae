"""Remarks on scores that say little about the features: heads that cannot learn from them, and heads that collapsed."""

from __future__ import annotations

from collections.abc import Iterable

from superbench.results.rows import Row

AT_CHANCE, COLLAPSED = "at chance", "collapsed"
"""How the notes of a result begin that explain such a score."""


def explained(rows: Iterable[Row]) -> list[str]:
    """Return one line for each row and reason: `fbank, IC KS: at chance: …`. A task with a reason is not also said to have
    collapsed."""
    tasks_of: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        for task, result in sorted(row.results.items()):
            for note in _reasons(result.notes):
                tasks_of.setdefault((row.name, note), {})[task.upper()] = None  # rows of one model may be in one table
    return [f"{name}, {' '.join(tasks)}: {note}" for (name, note), tasks in tasks_of.items()]


def _reasons(notes: Iterable[str]) -> list[str]:
    listed = list(notes)
    reasons = [note for note in listed if note.startswith(AT_CHANCE)]
    return reasons or [note for note in listed if COLLAPSED in note.split()[:4] or note.startswith(f"{COLLAPSED}:")]
