"""Gathers results into rows, and rows into groups that may be compared.

A group has one protocol and one type of corpora, and for each task one version, one data fingerprint, one set of labels and one
floor: an answer that ignores the sound does not depend on the model.
Groups are built around the data that most rows share, so that a row on other data does not separate the remaining rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from superbench.results.intervals import Replicates
from superbench.results.official import Corpora, corpora_of, miniatures
from superbench.results.ranking import rank_points
from superbench.results.result import Result
from superbench.results.rows import Cell, Data, Group, Key, Row, columns, key_of, kind_of

Kind = tuple[str, Corpora]
"""Protocol and type of corpora."""


@dataclass(frozen=True, slots=True)
class Known:
    """What scoring a result again has given: replicates by metric, the digest of its labels and whether these are the board's
    own labels, and the digests of its predictions (of each K, where nothing was trained)."""

    replicates: Mapping[str, Replicates] = field(default_factory=dict)
    labels: str = ""
    own: bool = True
    predicted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Member:
    """A future row, with the data of each of its results."""

    kind: Kind
    results: Mapping[str, Result]
    data: Mapping[str, Data]


def grouped(results: Iterable[Result], known: Mapping[Key, Known] | None = None) -> list[Group]:
    """Gather results into rows, and rows into groups that may be compared; the group with most rows comes first.

    `known`: further facts about each result, the earliest result first.
    """
    about = known or {}
    members = [
        _Member(kind, by_task, {name: _data(result, about) for name, result in by_task.items()})
        for kind, by_task in _gathered(results)
    ]
    usual = _usual(members)
    gathered: list[tuple[Kind, dict[str, Data], list[_Member]]] = []
    for member in sorted(members, key=lambda member: (_odd(member, usual), -len(member.data))):
        matching = (group for group in gathered if group[0] == member.kind and _agree(group[1], member.data))
        group = next(matching, None)
        if group is None:
            gathered.append(group := (member.kind, {}, []))
        group[1].update(member.data)
        group[2].append(member)
    first = first_to_predict(about)
    groups = [_group(kind, data, of_group, about, first) for kind, data, of_group in gathered]
    return sorted(groups, key=lambda group: -len(group.rows))


def apart(group: Group, first: Group) -> str:
    """Explain why `group`, of the same protocol and type of corpora, is not ranked with `first`: the tasks whose version, data,
    labels or floor differ."""
    reasons = [
        _difference(name, group.data[name], first.data[name])
        for name in sorted(group.data.keys() & first.data.keys())
        if group.data[name] != first.data[name]
    ]
    reasons.sort(key=lambda reason: " version " not in reason)
    return (
        f"On other data than the first table of this protocol ({'; '.join(reasons)}): not ranked together." if reasons else ""
    )


def _difference(name: str, data: Data, first: Data) -> str:
    if data[0] != first[0]:
        return f"{name.upper()} version {data[0]}, there {first[0]}"
    if data[1] != first[1]:
        return f"{name.upper()} {data[1]:.40}, there {first[1]:.40}"
    if data[3] != first[3]:
        return f"{name.upper()} with the floor {_numbers(data[3])}, there {_numbers(first[3])}"
    return f"{name.upper()} with other items or labels"


def _numbers(floors: Sequence[float]) -> str:
    return ", ".join(f"{floor:g}" for floor in floors)


# ---------------------------------------------------------------- rows


def _gathered(results: Iterable[Result]) -> list[tuple[Kind, dict[str, Result]]]:
    """Return the results of each row, by task. Results of one upstream and task on two corpora become two rows.

    Data that any result describes as a miniature are one for all: who leaves this out of a passport gains nothing."""
    rows: dict[tuple[Kind, str, str], list[dict[str, Result]]] = {}
    every = list(results)
    small = miniatures(every)
    for result in every:
        kind: Kind = (result.task.protocol, corpora_of(result, small))
        of_upstream = rows.setdefault((kind, result.upstream.name, result.upstream.revision), [])
        free = next((row for row in of_upstream if result.task.name not in row), None)
        if free is None:
            of_upstream.append(free := {})
        free[result.task.name] = result
    return [(key[0], row) for key, of_upstream in rows.items() for row in of_upstream]


def _data(result: Result, known: Mapping[Key, Known]) -> Data:
    floors = tuple(sorted({round(entry.floor, 6) for entry in result.shots or ()}))
    return result.task.version, result.data.fingerprint, known.get(key_of(result), Known()).labels, floors


def _usual(members: Sequence[_Member]) -> dict[tuple[Kind, str], Data]:
    """Return the data that most rows use, by protocol, corpora and task; among equally frequent data, the first."""
    counts: dict[tuple[Kind, str], Counter[Data]] = {}
    for member in members:
        for name, data in member.data.items():
            counts.setdefault((member.kind, name), Counter())[data] += 1
    return {key: counter.most_common(1)[0][0] for key, counter in counts.items()}


def _odd(member: _Member, usual: Mapping[tuple[Kind, str], Data]) -> int:
    return sum(usual[member.kind, name] != data for name, data in member.data.items())


def _agree(first: Mapping[str, Data], second: Mapping[str, Data]) -> bool:
    return all(first[name] == second[name] for name in first.keys() & second.keys())


def first_to_predict(known: Mapping[Key, Known]) -> dict[tuple[str, str], str]:
    """Return for each task and digest of predictions the upstream that submitted them first."""
    upstreams: dict[tuple[str, str], str] = {}
    for key, facts in known.items():
        for digest in facts.predicted:
            upstreams.setdefault((key[2], digest), key[0])
    return upstreams


def copied_from(upstream: str, task: str, predicted: Sequence[str], first: Mapping[tuple[str, str], str]) -> str:
    """Return the other upstream that submitted any of these predictions first (see `first_to_predict`); empty if none did."""
    others = (first.get((task, digest), upstream) for digest in predicted)
    return next((other for other in others if other != upstream), "")


# ---------------------------------------------------------------- groups


def _group(
    kind: Kind,
    data: Mapping[str, Data],
    members: Sequence[_Member],
    known: Mapping[Key, Known],
    first: Mapping[tuple[str, str], str],
) -> Group:
    rows = [_row(member.results, known, first) for member in members]
    results = [result for member in members for result in member.results.values()]
    points = rank_points(rows, columns(results))
    rows.sort(key=lambda row: (-points[id(row)], row.name))
    unverified = frozenset(result.task.name for result in results if not known.get(key_of(result), Known()).own)
    return Group(protocol=kind[0], rows=tuple(rows), data=data, unverified=unverified, corpora=kind[1])


def _row(by_task: Mapping[str, Result], known: Mapping[Key, Known], first: Mapping[tuple[str, str], str]) -> Row:
    facts = next(iter(by_task.values())).upstream
    about = {name: known.get(key_of(result), Known()) for name, result in by_task.items()}
    cells = {
        f"{name}.{metric}": Cell(score.value, score.ci, score.ci_method, tuple(result.deviations))
        for name, result in by_task.items()
        for metric, score in result.scores.items()
    }
    drawn = {f"{name}.{metric}": replicates for name in by_task for metric, replicates in about[name].replicates.items()}
    copies = {name: copied_from(facts.name, name, scored.predicted, first) for name, scored in about.items()}
    return Row(
        name=facts.name, origin="local", kind=kind_of(next(iter(by_task.values()))), cells=cells, source="",
        params=facts.params, macs=facts.macs, hop=facts.hop, layers=facts.layers, dim=facts.dim,
        revision=facts.revision, results=by_task, replicates=drawn,
        copies={name: other for name, other in copies.items() if other},
    )  # fmt: skip
