"""Computes the numbers of the leaderboard: SUPERB score, rank points, ranks, leaders.

Protocol of SUPERB, sections 3.3 and 3.4. For significant differences see `significance.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from superbench.results.rows import Cell, Column, Row


def superb_score(cells: Mapping[str, Cell], over: Sequence[Column]) -> float | None:
    """Return the mean over tasks of 1000 · (v - FBANK) / (SOTA - FBANK), averaged within a task; None if a metric is missing.

    The published row of FBANK has 0 points, the reference SOTA 1000. Source: the leaderboard's `overall_metrics.js`.
    """
    parts: dict[str, list[float]] = {}
    for column in over:
        if column.reference is None:
            continue
        if column.key not in cells:
            return None
        fbank, sota = column.reference
        parts.setdefault(column.task, []).append(1000 / (sota - fbank) * (cells[column.key].value - fbank))
    return mean(mean(values) for values in parts.values()) if parts else None


def rank_points(rows: Sequence[Row], over: Sequence[Column]) -> dict[int, float]:
    """Return `id(row)` -> rank points: for each metric the number of rows that are strictly worse (0 for a missing value),
    averaged within tasks, then over tasks. They depend on which other rows are listed."""
    by_task: dict[int, dict[str, list[float]]] = {id(row): {} for row in rows}
    for column in _counting(rows, over):
        sign = 1.0 if column.higher_is_better else -1.0
        values = {id(row): sign * row.cells[column.key].value for row in rows if column.key in row.cells}
        for row in rows:
            value = values.get(id(row))
            worse = 0.0 if value is None else float(sum(other < value for other in values.values()))
            by_task[id(row)].setdefault(column.task, []).append(worse)
    return {row: mean(mean(points) for points in tasks.values()) if tasks else 0.0 for row, tasks in by_task.items()}


def _counting(rows: Sequence[Row], over: Sequence[Column]) -> list[Column]:
    """Return the columns that count for the rank: those with reference points; if the rows have none of these, as on own tasks,
    the primary metrics."""
    present = {key for row in rows for key in row.cells}
    counted = [column for column in over if column.reference is not None]
    if present and not any(column.key in present for column in counted):
        return [column for column in over if column.primary and column.key in present]
    return counted


def ranks(rows: Sequence[Row], over: Sequence[Column], *, scored: bool = True) -> dict[int, int]:
    """Return `id(row)` -> rank (1: best) by rank points; ties are broken by the SUPERB score, if rows are `scored`. Rows that
    deviate from their recipe have no rank."""
    fair = [row for row in rows if not row.shortened]
    points = rank_points(fair, over)
    scores = {id(row): superb_score(row.cells, over) if scored else None for row in fair}
    keys = {row: (points[row], float("-inf") if score is None else score) for row, score in scores.items()}
    return {row: 1 + sum(other > key for other in keys.values()) for row, key in keys.items()}


def leaders(rows: Sequence[Row], column: Column) -> tuple[set[int], set[int]]:
    """Return `id(row)` of the best rows in a column, and of the rows whose interval overlaps that of the best."""
    fair = [row for row in rows if column.key in row.cells and row.cells[column.key].ranked]
    if not fair:
        return set(), set()
    sign = 1.0 if column.higher_is_better else -1.0
    top = max(sign * row.cells[column.key].value for row in fair)
    best = {id(row) for row in fair if sign * row.cells[column.key].value == top}
    first = next(row.cells[column.key].interval for row in fair if id(row) in best)
    if first is None:
        return best, set()
    tied = set()
    for row in fair:
        interval = row.cells[column.key].interval
        if id(row) not in best and interval and interval[0] <= first[1] and first[0] <= interval[1]:
            tied.add(id(row))
    return best, tied
