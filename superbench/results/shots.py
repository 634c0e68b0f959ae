"""Scores at K examples: the rows of a group at one K, the chance-centred mean over tasks, places, and the rule of `no sound`.

The chance-centred mean is the mean over tasks of (score - floor) / (best - floor), as in the CORE metric of nanochat: 0 is an
answer that ignores the sound, 1 a perfect one. Accuracies have the best value 100; EER (50 - EER) / 50; DER, PER and WER
(floor - x) / floor, not below 0, because they have no upper bound; MTWV is taken as it is (floor 0, best 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from superbench.contract import UNTRAINED, Shots
from superbench.results import significance
from superbench.results.result import Result, ShotFacts
from superbench.results.rows import Cell, Column, Group, Row
from superbench.results.significance import Standings

NO_SOUND = "no sound"
"""The control that a score in context must exceed: the same prompt without the sound of the question."""
OTHER_SOUND, MAJORITY, WRONG_LABELS = "other sound", "majority class", "wrong labels"
"""The other controls of a score in context. The last one needs examples: K = 0 has none."""
OTHER_RULES = ("by sum", "by per token", "by per character", "by calibrated")
"""Scores of the same answers by other rules of ranking, listed with the controls."""
SCARCEST = "the scarcest case has only"
"""In the note of a result whose task has fewer examples than K."""
BELOW = f"not above {NO_SOUND}"
BOUNDED = {"eer"}
"""Error rates with an upper bound at their floor's scale: a value beyond the floor counts as it is."""


def is_untrained(group: Group) -> bool:
    """Return whether the group's protocol trains nothing."""
    return group.protocol in UNTRAINED


def in_words(k: int | str) -> str:
    """Return K as text: `K = 5`."""
    return f"K = {k}"


def at_k(metric: str, k: int | str) -> str:
    """Return the name of a metric at K: `accuracy@5`."""
    return f"{metric}@{k}"


def order_of(k: int | str) -> float:
    """Return the sort key of K: `all` is last."""
    return math.inf if k == "all" else float(k)


def shots_in(rows: Sequence[Row]) -> list[Shots]:
    """Return every K that any result of the rows has, ascending, `all` last."""
    found = {entry.k for row in rows for result in row.results.values() for entry in result.shots or ()}
    return sorted(found, key=order_of)


def entry_at(result: Result, k: int | str) -> ShotFacts | None:
    """Return what a result says about K; None if it has no such K."""
    return next((entry for entry in result.shots or () if entry.k == k), None)


def at(group: Group, k: Shots, columns: Sequence[Column]) -> Group:
    """Return the group at K: a cell for the primary metric of every task that has this K. Rows without any are left out."""
    rows = [_row_at(row, k, columns) for row in group.rows]
    return replace(group, rows=tuple(row for row in rows if row.cells))


def _row_at(row: Row, k: Shots, columns: Sequence[Column]) -> Row:
    cells, drawn = {}, {}
    for column in columns:
        result = row.results.get(column.task)
        entry = None if result is None or column.metric != result.primary else entry_at(result, k)
        if result is None or entry is None:
            continue
        cells[column.key] = _cell(result, entry, column)
        if (replicates := row.replicates.get(f"{column.task}.{at_k(column.metric, k)}")) is not None:
            drawn[column.key] = replicates
    return replace(row, cells=cells, replicates=drawn)


def _cell(result: Result, entry: ShotFacts, column: Column) -> Cell:
    draws = f"mean of {entry.draws} draws of the examples" if entry.draws > 1 else "one set of examples"
    unplaced = "" if hears(entry, column.higher_is_better) else BELOW
    return Cell(value=entry.score, interval=entry.ci, method=draws, deviations=tuple(result.deviations), unplaced=unplaced)


def hears(entry: ShotFacts, higher_is_better: bool) -> bool:
    """Return whether a score exceeds the control `no sound` by its interval; True if there is no such control."""
    control = entry.controls.get(NO_SOUND)
    if control is None:
        return True
    if entry.ci is None:
        return False
    return entry.ci[0] > control if higher_is_better else entry.ci[1] < control


# ---------------------------------------------------------------- the chance-centred mean


def best_of(column: Column) -> float:
    """Return the best possible value of a metric."""
    return 0.0 if not column.higher_is_better else 100.0 if column.unit == "%" else 1.0


def centred(score: float, floor: float, column: Column) -> float:
    """Return (score - floor) / (best - floor); NaN if the floor is the best value.

    >>> accuracy = Column("ks", "accuracy", "", "%", True, "content", True, None, "")
    >>> wer = Column("asr", "wer", "", "%", False, "content", True, None, "")
    >>> centred(62.5, 25.0, accuracy), centred(80.0, 100.0, wer), centred(130.0, 100.0, wer)
    (0.5, 0.2, 0.0)
    """
    if best_of(column) == floor:
        return math.nan
    value = (score - floor) / (best_of(column) - floor)
    unbounded = not column.higher_is_better and column.metric not in BOUNDED
    return max(value, 0.0) if unbounded else value


@dataclass(frozen=True, slots=True)
class Mean:
    """The chance-centred mean of one row over `tasks` tasks, its 95 % interval (None: a score has none), and why it gets no
    place. Its unit is 1."""

    value: float
    interval: tuple[float, float] | None
    tasks: int
    unplaced: str = ""


def columns_at(view: Group, columns: Sequence[Column]) -> list[Column]:
    """Return the columns in which any row of a group at K has a score."""
    present = {key for row in view.rows for key in row.cells}
    return [column for column in columns if column.key in present]


def means_at(view: Group, k: Shots, columns: Sequence[Column]) -> dict[int, Mean]:
    """Return `id(row)` -> the mean of each row of a group at K. A row with a hole has no mean: it would be a mean over fewer
    tasks than that of the row beside it."""
    shown = columns_at(view, columns)
    means = {id(row): _mean(row, k, shown) for row in view.rows}
    return {row: mean for row, mean in means.items() if mean is not None}


def _mean(row: Row, k: Shots, shown: Sequence[Column]) -> Mean | None:
    if not shown or any(column.key not in row.cells for column in shown):
        return None
    entries = {column: entry for column in shown if (entry := entry_at(row.results[column.task], k)) is not None}
    values = [centred(entry.score, entry.floor, column) for column, entry in entries.items()]
    if any(map(math.isnan, values)):
        return None
    value = sum(values) / len(values)
    halves = [_half(entry, column) for column, entry in entries.items()]
    half = math.hypot(*halves) / len(halves)  # tasks have different speakers: their variances add up
    interval = (value - half, value + half) if math.isfinite(half) else None
    return Mean(value, interval, len(values), _below(entries, interval) or _deviation(row))


def _half(entry: ShotFacts, column: Column) -> float:
    return math.nan if entry.ci is None else (entry.ci[1] - entry.ci[0]) / 2 * factor(entry.floor, column)


def factor(floor: float, column: Column) -> float:
    """Return how much the centred score grows with one point of improvement."""
    return 1.0 / abs(best_of(column) - floor)


def _below(entries: Mapping[Column, ShotFacts], interval: tuple[float, float] | None) -> str:
    """Return why the mean gets no place: it does not exceed the mean of the controls without sound by its interval."""
    controls = [
        centred(entry.controls[NO_SOUND], entry.floor, column)
        for column, entry in entries.items()
        if NO_SOUND in entry.controls
    ]
    if len(controls) < len(entries):
        return ""
    deaf = sum(controls) / len(controls)
    return "" if interval is not None and interval[0] > deaf else BELOW


def _deviation(row: Row) -> str:
    return "deviates from its recipe" if row.shortened else ""


def standings_of_means(view: Group, k: Shots, columns: Sequence[Column], means: Mapping[int, Mean]) -> Standings:
    """Return the places of the rows of a group at K by their means. Rows are tested in pairs over the same items and the same
    draws; a difference that may be chance is a tie."""
    rows, shown = view.rows, columns_at(view, columns)
    fair = [i for i, row in enumerate(rows) if id(row) in means and not means[id(row)].unplaced]
    tests = [significance.compare(rows, fair, column) for column in shown]
    known = [test for test in tests if test is not None]
    factors = [_signed_factor(rows[fair[0]], k, column) for column in shown] if fair else []
    comparison = significance.averaged(known, factors) if len(known) == len(shown) else None
    return significance.placed({i: means[id(rows[i])].value for i in fair}, comparison)


def _signed_factor(row: Row, k: Shots, column: Column) -> float:
    entry = entry_at(row.results[column.task], k)
    assert entry is not None
    return factor(entry.floor, column) * (1.0 if column.higher_is_better else -1.0)


# ---------------------------------------------------------------- floors and controls


def floors_at(view: Group, k: Shots) -> dict[str, float]:
    """Return task -> the floor at K, which all rows on the same data share."""
    found: dict[str, float] = {}
    for row in view.rows:
        for task, result in row.results.items():
            if (entry := entry_at(result, k)) is not None:
                found.setdefault(task, entry.floor)
    return found


def controls_of(protocol: str, k: int | str) -> list[str]:
    """Return the controls that a protocol always runs at K."""
    if protocol != "in-context":
        return []
    return [NO_SOUND, OTHER_SOUND, *([] if k == 0 else [WRONG_LABELS]), MAJORITY]


def controls_in(rows: Sequence[Row]) -> list[str]:
    """Return the names of all controls, in the order of their first appearance."""
    entries = (entry for row in rows for result in row.results.values() for entry in result.shots or ())
    return list(dict.fromkeys(name for entry in entries for name in entry.controls))
