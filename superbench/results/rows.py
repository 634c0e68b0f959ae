"""Columns, rows and groups of a board, from which tables and pages are made."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from superbench import plugins
from superbench.contract import CUSTOM
from superbench.errors import CommandError
from superbench.results.intervals import Replicates
from superbench.results.official import UNSCORED, Corpora, prepared_by
from superbench.results.own import own_kind
from superbench.results.result import Result

Key = tuple[str, str, str, str, int, str]
"""Upstream, revision, task, protocol, version of the task, data fingerprint; unique on a board."""
Place = tuple[str, str, str, int, str]
"""The same without the revision: a newer revision of an upstream replaces the older one with the same value."""
Data = tuple[int, str, str, tuple[float, ...]]
"""Version of a task, data fingerprint, digest of the labels used for scoring (empty if it was not computed), and the different
floors (empty if heads were trained)."""
DOMAINS = ("content", "speaker", "semantics", "emotion")


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of one task. `reference` contains its values for FBANK and for the reference SOTA, the two reference points of
    the SUPERB score (None: it does not count). `chosen_on` is the split on which the probes are chosen."""

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
        """The key of the column: `ks.accuracy`."""
        return f"{self.task}.{self.metric}"

    @property
    def label(self) -> str:
        """The header of the column in a table: `KS accuracy ↑`."""
        return f"{self.task.upper()} {self.metric.replace('_', ' ')} {'↑' if self.higher_is_better else '↓'}"


@dataclass(frozen=True, slots=True)
class Cell:
    """A value with its 95 % interval, if it has one. `unplaced`: why it gets no place, although it follows its recipe."""

    value: float
    interval: tuple[float, float] | None = None
    method: str | None = None
    deviations: tuple[str, ...] = ()
    unplaced: str = ""

    @property
    def ranked(self) -> bool:
        """Whether it gets a place among others."""
        return not self.deviations and not self.unplaced


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one upstream. Published rows have no `results` (by task); rows without known predictions have no
    `replicates` (by column). `copies`: task -> the earlier row with identical predictions."""

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
        """Whether any cell deviates from its recipe."""
        return any(cell.deviations for cell in self.cells.values())

    @property
    def copied(self) -> list[str]:
        """`copies` as text."""
        others: dict[str, list[str]] = {}
        for task, other in sorted(self.copies.items()):
            others.setdefault(other, []).append(task)
        return [f"{', '.join(tasks)}: the same predictions as {other}" for other, tasks in others.items()]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that may be compared: one protocol, one type of corpora, and for each task one version, one data fingerprint, one
    set of labels and one floor. `unverified`: tasks whose labels come from the submitters. Groups of published rows have
    the corpora `published`."""

    protocol: str
    rows: tuple[Row, ...]
    data: Mapping[str, Data] = field(default_factory=dict)
    unverified: frozenset[str] = frozenset()
    corpora: Corpora = "published"

    @property
    def scored(self) -> bool:
        """Whether its rows have a SUPERB score. The reference points are valid only for the official recipes and corpora."""
        return self.protocol not in UNSCORED and self.corpora == "published"


def columns(results: Iterable[Result] = ()) -> list[Column]:
    """Return the columns of a board, by domain: all metrics of all registered tasks that count in the SUPERB score, and other
    published metrics (without reference points; with the direction of the task's primary metric). Imports the tasks.

    A person's own task is not registered: its columns are the scores of its `results`, the primary one first."""
    listed = []
    for name, task in plugins.tasks().items():
        card = task.card
        for metric in dict.fromkeys([card.primary, *card.reference_points, *card.published]):
            reference = card.reference_points.get(metric)
            points = reference or card.reference_points.get(card.primary)
            higher_is_better = points is None or points[1] > points[0]
            unit: Literal["%", "fraction"] = "fraction" if reference and max(reference) <= 1 else "%"
            listed.append(
                Column(
                    task=name,
                    metric=metric,
                    title=card.title,
                    unit=unit,
                    higher_is_better=higher_is_better,
                    domain=card.domain,
                    primary=metric == card.primary,
                    reference=reference,
                    published=card.published.get(metric, ""),
                    corpus=card.corpus,
                    chosen_on=task.select.on,
                )
            )
    listed += _own_columns(results, {column.task for column in listed})
    return sorted(listed, key=lambda c: DOMAINS.index(c.domain) if c.domain in DOMAINS else len(DOMAINS))


def _own_columns(results: Iterable[Result], registered: Collection[str]) -> list[Column]:
    by_key: dict[str, Column] = {}
    for result in results:
        if result.task.name in registered or CUSTOM not in (result.task.protocol, prepared_by(result)):
            continue
        told = own_kind(result.environment)
        for metric, score in sorted(result.scores.items(), key=lambda pair: pair[0] != result.primary):
            column = Column(
                task=result.task.name, metric=metric, title=told.title if told else result.task.name, unit=score.unit,
                higher_is_better=score.higher_is_better, domain=told.domain if told else DOMAINS[0],
                primary=metric == result.primary, reference=None, published="", corpus=told.corpus if told else "",
            )  # fmt: skip
            by_key.setdefault(column.key, column)
    return list(by_key.values())


def key_of(result: Result) -> Key:
    """Return the key of a result; a later result with the same key replaces it."""
    task, upstream = result.task, result.upstream
    return upstream.name, upstream.revision, task.name, task.protocol, task.version, result.data.fingerprint


def place_of(result: Result) -> Place:
    """Return the place of a result on a board; a later result with the same place replaces it, of whatever revision."""
    task = result.task
    return result.upstream.name, task.name, task.protocol, task.version, result.data.fingerprint


def kind_of(result: Result) -> Literal["pretrained", "untrained", "spectral"]:
    """Return the type of a model: `spectral` (no parameters), `untrained` (random weights, a control) or `pretrained`."""
    if not result.upstream.params:
        return "spectral"
    spec = spec_of(result)
    return "untrained" if spec is not None and "untrained" in spec.options else "pretrained"


def spec_of(result: Result) -> plugins.Spec | None:
    """Return the parsed spec of the model, without its file; None if it cannot be parsed."""
    try:
        return plugins.parse(result.environment.get("spec", "").partition("@")[0])
    except CommandError:
        return None
