"""Rows and columns of a board: the SUPERB score, the rank, whose intervals overlap.

Who may be compared with whom: `gathering.py`. Score and rank: the leaderboard's own arithmetic
(protocol of SUPERB, sections 3.3 and 3.4). Which differences are real: `comparison.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Literal

from superbench import registry
from superbench.board.official import UNSCORED, Corpora, corpora_of
from superbench.errors import CommandError
from superbench.probing.intervals import Replicates
from superbench.schema import Result

Key = tuple[str, str, str, str, int, str]
"""Upstream, revision, task, protocol, version of the task, data fingerprint: what stands once on a board."""

Place = tuple[str, str, str, int, str]
"""The same without the revision: what a newer version of an upstream takes from an older one, task by task."""

Data = tuple[int, str, str]
"""Version of a task, data fingerprint, digest of the labels that it was scored on (empty where nobody asked)."""

DOMAINS = ("content", "speaker", "semantics", "emotion")


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of one task. `reference` = its value for FBANK and for the reference SOTA; both count in the SUPERB score.
    `chosen_on` is the split that its probes are chosen on."""

    task: str
    metric: str
    title: str
    unit: Literal["%", "fraction"]
    higher_is_better: bool
    domain: str
    primary: bool
    reference: tuple[float, float] | None
    published: str
    corpus: str = ""
    chosen_on: str = "dev"

    @property
    def key(self) -> str:
        """`ks.accuracy`."""
        return f"{self.task}.{self.metric}"

    @property
    def label(self) -> str:
        """`KS accuracy ↑`, as a table's head says it."""
        return f"{self.task.upper()} {self.metric.replace('_', ' ')} {'↑' if self.higher_is_better else '↓'}"


@dataclass(frozen=True, slots=True)
class Cell:
    """A value with its 95 % interval, where there is one."""

    value: float
    interval: tuple[float, float] | None = None
    method: str | None = None
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One upstream's cells. `results` (by task) are there for rows that were run, not for published ones; `replicates` (by
    column) for rows whose predictions are known; `copies`: task -> the earlier row that predicts the very same."""

    name: str
    origin: Literal["local", "published"]
    kind: Literal["pretrained", "untrained", "spectral", "published"]
    cells: Mapping[str, Cell]
    source: str = ""
    params: int | None = None
    macs: float | None = None
    hop: int | None = None
    layers: int | None = None
    dim: int | None = None
    revision: str = ""
    results: Mapping[str, Result] = field(default_factory=dict)
    replicates: Mapping[str, Replicates] = field(default_factory=dict)
    superseded: bool = False
    copies: Mapping[str, str] = field(default_factory=dict)

    @property
    def shortened(self) -> bool:
        """Does any cell deviate from its recipe?"""
        return any(cell.deviations for cell in self.cells.values())

    @property
    def copied(self) -> list[str]:
        """`copies`, in words."""
        others: dict[str, list[str]] = {}
        for task, other in sorted(self.copies.items()):
            others.setdefault(other, []).append(task)
        return [f"{', '.join(tasks)}: the same predictions as {other}" for other, tasks in others.items()]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that may be compared: one protocol, one kind of corpora, and for each task one version, one data fingerprint and
    one set of labels. `unverified`: tasks whose labels are those that their submitters brought."""

    protocol: str
    rows: tuple[Row, ...]
    data: Mapping[str, Data] = field(default_factory=dict)
    unverified: frozenset[str] = frozenset()

    @property
    def scored(self) -> bool:
        """May its rows have a SUPERB score? Its reference points belong to the official recipes and corpora."""
        return self.protocol not in UNSCORED and self.corpora == "published"

    @property
    def corpora(self) -> Corpora:
        """What its results were made on; nothing else is known of published rows."""
        return next((corpora_of(result) for row in self.rows for result in row.results.values()), "published")


def columns() -> list[Column]:
    """All metrics of all registered tasks that a board shows, by domain: those that count, and those that are published besides
    (without reference points; they move as the task's primary metric does). Imports the tasks."""
    found = []
    for name, task in registry.tasks().items():
        card = task.card
        for metric in dict.fromkeys([card.primary, *card.reference_points, *card.published]):
            reference = card.reference_points.get(metric)
            guide = reference or card.reference_points.get(card.primary)
            rising = guide is None or guide[1] > guide[0]
            unit: Literal["%", "fraction"] = "fraction" if reference and max(reference) <= 1 else "%"
            found.append(
                Column(
                    name,
                    metric,
                    card.title,
                    unit,
                    rising,
                    card.domain,
                    metric == card.primary,
                    reference,
                    card.published.get(metric, ""),
                    card.corpus,
                    task.select.on,
                )
            )
    return sorted(found, key=lambda c: DOMAINS.index(c.domain) if c.domain in DOMAINS else len(DOMAINS))


# ---------------------------------------------------------------- what a result is of


def key_of(result: Result) -> Key:
    """What a result is of: a later one with the same key takes its place."""
    task, upstream = result.task, result.upstream
    return upstream.name, upstream.revision, task.name, task.protocol, task.version, result.data.fingerprint


def place_of(result: Result) -> Place:
    """Where a result stands: a later one takes its place, of whichever revision."""
    task = result.task
    return result.upstream.name, task.name, task.protocol, task.version, result.data.fingerprint


def kind_of(result: Result) -> Literal["pretrained", "untrained", "spectral"]:
    """Nothing to learn, random weights as a control, or trained."""
    if not result.upstream.params:
        return "spectral"
    spec = spec_of(result)
    return "untrained" if spec is not None and "untrained" in spec.options else "pretrained"


def spec_of(result: Result) -> registry.Spec | None:
    """The spec that the model was named by, taken apart, without its file; None where that cannot be done."""
    try:
        return registry.parse(result.environment.get("spec", "").partition("@")[0])
    except CommandError:
        return None


# ---------------------------------------------------------------- the leaderboard's arithmetic


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
