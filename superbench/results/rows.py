"""Columns, rows and groups of a board: what a table or a page is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from superbench import plugins
from superbench.errors import CommandError
from superbench.results.intervals import Replicates
from superbench.results.official import UNSCORED, Corpora, corpora_of
from superbench.results.result import Result

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
    for name, task in plugins.tasks().items():
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


def spec_of(result: Result) -> plugins.Spec | None:
    """The spec that the model was named by, taken apart, without its file; None where that cannot be done."""
    try:
        return plugins.parse(result.environment.get("spec", "").partition("@")[0])
    except CommandError:
        return None
