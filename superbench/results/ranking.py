"""The leaderboard's own arithmetic: the SUPERB score, points, ranks, leaders.

Protocol of SUPERB, sections 3.3 and 3.4. Which differences are real: `significance.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from superbench.results.rows import Cell, Column, Row


def superb_score(cells: Mapping[str, Cell], over: Sequence[Column]) -> float | None:
    """The mean over tasks of 1000 · (v - FBANK) / (SOTA - FBANK), averaged within a task; None if a metric is missing.

    FBANK's published row has 0 and the reference SOTA 1000. Source: the leaderboard's `overall_metrics.js`.
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
    """`id(row)` -> for each metric the number of rows strictly worse (none for a missing value), averaged within tasks, then
    over tasks. The rank depends on who else is listed."""
    by_task: dict[int, dict[str, list[float]]] = {id(row): {} for row in rows}
    for column in (column for column in over if column.reference is not None):
        sign = 1.0 if column.higher_is_better else -1.0
        values = {id(row): sign * row.cells[column.key].value for row in rows if column.key in row.cells}
        for row in rows:
            own = values.get(id(row))
            worse = 0.0 if own is None else float(sum(other < own for other in values.values()))
            by_task[id(row)].setdefault(column.task, []).append(worse)
    return {row: mean(mean(points) for points in tasks.values()) if tasks else 0.0 for row, tasks in by_task.items()}


def ranks(rows: Sequence[Row], over: Sequence[Column], *, scored: bool = True) -> dict[int, int]:
    """`id(row)` -> 1 for the best, by rank points, ties by score (where rows are `scored`). Rows that deviate from their recipe
    have no rank."""
    fair = [row for row in rows if not row.shortened]
    points = rank_points(fair, over)
    scores = {id(row): superb_score(row.cells, over) if scored else None for row in fair}
    keys = {row: (points[row], float("-inf") if score is None else score) for row, score in scores.items()}
    return {row: 1 + sum(other > own for other in keys.values()) for row, own in keys.items()}


def leaders(rows: Sequence[Row], column: Column) -> tuple[set[int], set[int]]:
    """`id(row)` of the best in a column, and of those whose interval overlaps the best one's: no winner is sure among them."""
    fair = [row for row in rows if column.key in row.cells and not row.cells[column.key].deviations]
    if not fair:
        return set(), set()
    sign = 1.0 if column.higher_is_better else -1.0
    top = max(sign * row.cells[column.key].value for row in fair)
    best = {id(row) for row in fair if sign * row.cells[column.key].value == top}
    edge = [row.cells[column.key].interval for row in fair if id(row) in best]
    first = edge[0]
    if first is None:
        return best, set()
    tied = set()
    for row in fair:
        interval = row.cells[column.key].interval
        if id(row) not in best and interval and interval[0] <= first[1] and first[0] <= interval[1]:
            tied.add(id(row))
    return best, tied
