"""The results that count on a board: the latest of each row and task, under the present name of the row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from superbench.board.bundles.bundle import Bundle, Entry, open_bundle
from superbench.board.storage.base import Reading, StoredBundle
from superbench.board.storage.rulings import Ruling, name_of, ruled, rulings
from superbench.errors import SuperbenchError, Unavailable
from superbench.results import Result, rows
from superbench.results.rows import Row


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a result on the board comes from: the token that submitted it (`by`; empty: the keeper), the present owner of its
    row, the time of acceptance, and whether readers without a token do not see it (`hidden`)."""

    by: str
    owner: str
    accepted: str
    hidden: bool = False


Origins = Mapping[rows.Key, Origin]
"""The origins of results, by their keys (`rows.key_of`)."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A result that counts, in its bundle."""

    bundle: Bundle
    entry: Entry
    origin: Origin


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A bundle or an entry that is not shown, and why; `digest` and `entry` are empty for an unreadable bundle."""

    subject: str
    reason: str
    digest: str = ""
    entry: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}"


def counted(storage: Reading, left_out: list[LeftOut], *, hidden: bool) -> list[Counted]:
    """Returns the latest entry of each upstream and task, without withdrawn bundles; those of hidden rows only if `hidden`.

    The reason why a bundle cannot be read is added to `left_out`.
    """
    known = rulings(storage)
    latest: dict[rows.Place, Counted] = {}
    for stored in storage.bundles():
        ruling = known.get(name_of(stored), Ruling())
        if ruling.withdrawn or (ruling.hidden and not hidden):
            continue
        try:
            bundle = open_bundle(storage.data(stored.place or stored.digest))
        except Unavailable:
            raise
        except Exception as error:  # a damaged bundle must not affect the others
            left_out.append(LeftOut(PurePath(stored.place or stored.digest).name, reason_of(error)))
            continue
        current = ruled(known, stored)
        _add(latest, _renamed(bundle, current), Origin(stored.by, current.by, stored.accepted, bool(ruling.hidden)))
    return list(latest.values())


def _add(latest: dict[rows.Place, Counted], bundle: Bundle, origin: Origin) -> None:
    for entry in bundle.entries.values():
        place = rows.place_of(entry.result)
        if place in latest and latest[place].entry.packed != entry.packed:
            del latest[place]  # the same predictions keep their position: a later row with them is the copy
        latest[place] = Counted(bundle, entry, origin)


def _renamed(bundle: Bundle, stored: StoredBundle) -> Bundle:
    """Returns the bundle under the present name of its row; its digest stays."""
    if bundle.upstream == stored.upstream:
        return bundle
    named = {
        key: replace(
            entry,
            result=entry.result.model_copy(
                update={"upstream": entry.result.upstream.model_copy(update={"name": stored.upstream})}
            ),
        )
        for key, entry in bundle.entries.items()
    }
    return replace(bundle, upstream=stored.upstream, entries=named)


def submissions_of(row: Row, origins: Origins) -> list[dict[str, Any]]:
    """Returns who submitted the results of a row, when, with which version of superbench, and the commands that made them; the
    results of one submission together."""
    found: dict[tuple[Origin, str, str], dict[str, Any]] = {}
    for task, result in sorted(row.results.items()):
        origin = origins.get(rows.key_of(result))
        if origin is None:
            continue
        version, command = str(result.environment.get("superbench", "")), str(result.environment.get("command", ""))
        entry = {"tasks": [], "by": origin.by or "keeper", "owner": origin.owner or "keeper", "at": origin.accepted,
                 "version": version, "command": command}  # fmt: skip
        found.setdefault((origin, version, command), entry)["tasks"].append(task)
    return list(found.values())


def is_hidden(results: Sequence[Result], origins: Origins) -> bool:
    """Returns whether readers without a token do not see a row with these results."""
    found = [origins.get(rows.key_of(result)) for result in results]
    return any(origin is not None and origin.hidden for origin in found)


def reason_of(error: Exception) -> str:
    """Returns the text of an error without paths; for errors of other libraries, with the name of the type."""
    text = (error.strerror or "") if isinstance(error, OSError) else str(error)[:300]
    return text if isinstance(error, SuperbenchError) else f"{type(error).__name__}: {text}"
