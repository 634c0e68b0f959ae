"""From results to rows, and from rows to groups that may be compared.

A group has one protocol and one kind of corpora; for each task one version, one data fingerprint and one set of labels. Groups
are made around the data that most rows have, so that a row on data of its own parts nobody from the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from superbench.results.intervals import Replicates
from superbench.results.official import Corpora, corpora_of
from superbench.results.ranking import rank_points
from superbench.results.result import Result
from superbench.results.rows import Cell, Data, Group, Key, Row, columns, key_of, kind_of

Kind = tuple[str, Corpora]
"""Protocol, and what it was run on."""


@dataclass(frozen=True, slots=True)
class Known:
    """What scoring a result again showed: replicates by metric, the digest of its labels and whether these are the board's own,
    the digest of what it predicts."""

    replicates: Mapping[str, Replicates] = field(default_factory=dict)
    labels: str = ""
    own: bool = True
    predicted: str = ""


@dataclass(frozen=True, slots=True)
class _Member:
    """A row to be, with what each of its results is on."""

    kind: Kind
    results: Mapping[str, Result]
    data: Mapping[str, Data]


def grouped(results: Iterable[Result], known: Mapping[Key, Known] | None = None) -> list[Group]:
    """Results gathered into rows, and rows into groups that may be compared; the group of most rows first.

    `known`: what is known of each result besides, the earliest first.
    """
    about = known or {}
    members = [_Member(kind, own, {name: _data(one, about) for name, one in own.items()}) for kind, own in _gathered(results)]
    usual = _usual(members)
    gathered: list[tuple[Kind, dict[str, Data], list[_Member]]] = []
    for member in sorted(members, key=lambda it: (_odd(it, usual), -len(it.data))):
        home = next((one for one in gathered if one[0] == member.kind and _agree(one[1], member.data)), None)
        if home is None:
            gathered.append(home := (member.kind, {}, []))
        home[1].update(member.data)
        home[2].append(member)
    first = first_to_predict(about)
    groups = [_group(kind, data, its, about, first) for kind, data, its in gathered]
    return sorted(groups, key=lambda group: -len(group.rows))


def apart(group: Group, first: Group) -> str:
    """Why `group`, of the same protocol and kind of corpora, is not ranked with `first`: the tasks whose version, data or
    labels differ."""
    words = [
        _difference(name, group.data[name], first.data[name])
        for name in sorted(group.data.keys() & first.data.keys())
        if group.data[name] != first.data[name]
    ]
    words.sort(key=lambda said: " version " not in said)
    return f"On other data than the first table of this protocol ({'; '.join(words)}): not ranked together." if words else ""


def _difference(name: str, own: Data, other: Data) -> str:
    if own[0] != other[0]:
        return f"{name.upper()} version {own[0]} there {other[0]}"
    if own[1] != other[1]:
        return f"{name.upper()} {own[1]:.40}, there {other[1]:.40}"
    return f"{name.upper()} with other items or labels"


# ---------------------------------------------------------------- rows


def _gathered(results: Iterable[Result]) -> list[tuple[Kind, dict[str, Result]]]:
    """Results by task, row by row. One upstream's results of a task on two corpora are two rows."""
    rows: dict[tuple[Kind, str, str], list[dict[str, Result]]] = {}
    for result in results:
        kind: Kind = (result.task.protocol, corpora_of(result))
        own = rows.setdefault((kind, result.upstream.name, result.upstream.revision), [])
        free = next((row for row in own if result.task.name not in row), None)
        if free is None:
            own.append(free := {})
        free[result.task.name] = result
    return [(key[0], row) for key, own in rows.items() for row in own]


def _data(result: Result, known: Mapping[Key, Known]) -> Data:
    return result.task.version, result.data.fingerprint, known.get(key_of(result), Known()).labels


def _usual(members: Sequence[_Member]) -> dict[tuple[Kind, str], Data]:
    """What most rows of a kind are on, task by task; of equally many, what came first."""
    counts: dict[tuple[Kind, str], Counter[Data]] = {}
    for member in members:
        for name, data in member.data.items():
            counts.setdefault((member.kind, name), Counter())[data] += 1
    return {place: found.most_common(1)[0][0] for place, found in counts.items()}


def _odd(member: _Member, usual: Mapping[tuple[Kind, str], Data]) -> int:
    return sum(usual[member.kind, name] != data for name, data in member.data.items())


def _agree(one: Mapping[str, Data], other: Mapping[str, Data]) -> bool:
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def first_to_predict(known: Mapping[Key, Known]) -> dict[tuple[str, str], str]:
    """Task and digest of predictions -> who came with them first."""
    found: dict[tuple[str, str], str] = {}
    for key, one in known.items():
        if one.predicted:
            found.setdefault((key[2], one.predicted), key[0])
    return found


# ---------------------------------------------------------------- groups


def _group(
    kind: Kind,
    data: Mapping[str, Data],
    members: Sequence[_Member],
    known: Mapping[Key, Known],
    first: Mapping[tuple[str, str], str],
) -> Group:
    rows = [_row(member.results, known, first) for member in members]
    points = rank_points(rows, columns())
    rows.sort(key=lambda row: (-points[id(row)], row.name))
    results = [one for member in members for one in member.results.values()]
    unverified = frozenset(one.task.name for one in results if not known.get(key_of(one), Known()).own)
    return Group(kind[0], tuple(rows), data, unverified)


def _row(by_task: Mapping[str, Result], known: Mapping[Key, Known], first: Mapping[tuple[str, str], str]) -> Row:
    facts = next(iter(by_task.values())).upstream
    about = {name: known.get(key_of(result), Known()) for name, result in by_task.items()}
    cells = {
        f"{name}.{metric}": Cell(score.value, score.ci, score.ci_method, tuple(result.deviations))
        for name, result in by_task.items()
        for metric, score in result.scores.items()
    }
    drawn = {f"{name}.{metric}": one for name in by_task for metric, one in about[name].replicates.items()}
    earlier = {name: first.get((name, one.predicted), facts.name) for name, one in about.items()}
    return Row(
        facts.name, "local", kind_of(next(iter(by_task.values()))), cells, "", facts.params, facts.macs, facts.hop,
        facts.layers, facts.dim, facts.revision, by_task, drawn,
        copies={name: other for name, other in earlier.items() if other != facts.name},
    )  # fmt: skip
