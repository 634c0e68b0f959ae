"""Rows and columns of a board: who may be compared with whom, the SUPERB score, the rank, whose intervals overlap.

Rows are compared only where protocol, task version and data agree. Score and rank: the leaderboard's own arithmetic
(protocol of SUPERB, sections 3.3 and 3.4). Which differences are real: `comparison.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Literal

from superbench import registry
from superbench.errors import CommandError
from superbench.passport import is_miniature
from superbench.probing.intervals import Replicates
from superbench.schema import Result

Key = tuple[str, str, str, str, int, str]
"""Upstream, revision, task, protocol, version of the task, data fingerprint: what stands once on a board."""

Place = tuple[str, str, str, int, str]
"""The same without the revision: what a newer version of an upstream takes from an older one, task by task."""

UNSCORED = {"mini"}
"""Protocols without a SUPERB score."""

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
    column) for rows whose predictions are known."""

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

    @property
    def shortened(self) -> bool:
        """Does any cell deviate from its recipe?"""
        return any(cell.deviations for cell in self.cells.values())


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that may be compared: one protocol, and for each task one version and one data fingerprint."""

    protocol: str
    rows: tuple[Row, ...]
    data: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """May its rows have a SUPERB score? Its reference points belong to the official recipes and corpora."""
        return self.protocol not in UNSCORED and not any(self.miniature.values())

    @property
    def miniature(self) -> dict[str, bool]:
        """Task -> was it run on a synthetic miniature? Nothing is known of published rows."""
        return {name: is_miniature(result) for row in self.rows for name, result in row.results.items()}


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


# ---------------------------------------------------------------- from results to groups


def key_of(result: Result) -> Key:
    """What a result is of: a later one with the same key takes its place."""
    task, upstream = result.task, result.upstream
    return upstream.name, upstream.revision, task.name, task.protocol, task.version, result.data.fingerprint


def place_of(result: Result) -> Place:
    """Where a result stands: a later one takes its place, of whichever revision."""
    task = result.task
    return result.upstream.name, task.name, task.protocol, task.version, result.data.fingerprint


def grouped(results: Iterable[Result], replicates: Mapping[Key, Mapping[str, Replicates]] | None = None) -> list[Group]:
    """Results gathered into rows, and rows into groups that may be compared; the group of most rows first.

    `replicates`: of each result by metric, where its predictions are known.
    """
    gathered: list[tuple[str, dict[str, tuple[int, str]], list[Row]]] = []
    for protocol, by_task in sorted(_gathered(results), key=lambda row: -len(row[1])):
        data = {name: (result.task.version, result.data.fingerprint) for name, result in by_task.items()}
        home = next((g for g in gathered if g[0] == protocol and _agree(g[1], data)), None)
        if home is None:
            home = (protocol, {}, [])
            gathered.append(home)
        home[1].update(data)
        home[2].append(_row(by_task, replicates or {}))
    groups = [Group(protocol, tuple(_standing(members)), data) for protocol, data, members in gathered]
    return sorted(groups, key=lambda group: -len(group.rows))


def _gathered(results: Iterable[Result]) -> list[tuple[str, dict[str, Result]]]:
    """Rows as (protocol, results by task). One upstream's results of a task on two corpora are two rows."""
    rows: dict[tuple[str, str, str], list[dict[str, Result]]] = {}
    for result in results:
        own = rows.setdefault((result.task.protocol, result.upstream.name, result.upstream.revision), [])
        free = next((row for row in own if result.task.name not in row), None)
        if free is None:
            own.append(free := {})
        free[result.task.name] = result
    return [(key[0], row) for key, own in rows.items() for row in own]


def apart(group: Group, first: Group) -> str:
    """Why `group`, of the same protocol, is not ranked with `first`: the tasks whose version or data differ."""
    odd = sorted(name for name in group.data.keys() & first.data.keys() if group.data[name] != first.data[name])
    versions = [name for name in odd if group.data[name][0] != first.data[name][0]]
    words = [f"{name.upper()} version {group.data[name][0]} there {first.data[name][0]}" for name in versions]
    words += [
        f"{name.upper()} {group.data[name][1]:.40}, there {first.data[name][1]:.40}" for name in odd if name not in versions
    ]
    return f"On other data than the first table of this protocol ({'; '.join(words)}): not ranked together." if words else ""


def _agree(one: Mapping[str, tuple[int, str]], other: Mapping[str, tuple[int, str]]) -> bool:
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _row(by_task: Mapping[str, Result], replicates: Mapping[Key, Mapping[str, Replicates]]) -> Row:
    facts = next(iter(by_task.values())).upstream
    cells = {
        f"{name}.{metric}": Cell(score.value, score.ci, score.ci_method, tuple(result.deviations))
        for name, result in by_task.items()
        for metric, score in result.scores.items()
    }
    drawn = {
        f"{name}.{metric}": one
        for name, result in by_task.items()
        for metric, one in replicates.get(key_of(result), {}).items()
    }
    return Row(
        facts.name, "local", kind_of(next(iter(by_task.values()))), cells, "", facts.params, facts.macs, facts.hop,
        facts.layers, facts.dim, facts.revision, by_task, drawn,
    )  # fmt: skip


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


def _standing(rows: Sequence[Row]) -> list[Row]:
    """Best first: by rank points over the columns that the rows have."""
    points = rank_points(rows, columns())
    return sorted(rows, key=lambda row: (-points[id(row)], row.name))


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
