"""What a board's keeper decided about what was accepted: a note beside a bundle, which itself stays as it came.

A ruling is a document of the storage, named after the bundle's digest, so that it is kept, saved and restored with the board
whatever the board lives in. A bundle that was withdrawn is shown nowhere and owns no name; it does not come back when it is
submitted again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from superbench.board.bundles.bundle import Bundle, open_bundle
from superbench.board.storage.base import Reading, StoredBundle, Writing, event, now
from superbench.board.storage.sealed_evidence import forget
from superbench.errors import CommandError, UnknownName
from superbench.results.rows import Place, place_of

SHORT = 12
SHORTEST = 8
"""Digits of a digest by which a single bundle may be called."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """When a bundle was withdrawn (empty: it was not), by whom, and why."""

    withdrawn: str = ""
    by: str = ""
    why: str = ""


def name_of(held: StoredBundle) -> str:
    """What a bundle's ruling is called: the beginning of its digest, or, for a file that nobody can read, of its own name."""
    return held.digest[:SHORT] or re.sub(r"[^A-Za-z0-9_-]", "_", held.upstream)[:80] or "_"


def rulings(storage: Reading) -> Mapping[str, Ruling]:
    """All rulings by name."""
    found = {name: storage.get("rulings", name) for name in storage.names("rulings")}
    return {name: _parsed(data) for name, data in found.items() if data is not None}


def _parsed(data: bytes) -> Ruling:
    """A ruling that was damaged still rules; fields of later versions are left out."""
    try:
        facts = json.loads(data)
        return Ruling(*(str(facts.get(field.name, "")) for field in fields(Ruling)))
    except (ValueError, AttributeError):
        return Ruling("at a time unknown", "somebody unknown", "the note is damaged")


def ruling_of(storage: Reading, held: StoredBundle) -> Ruling:
    """The ruling about one bundle."""
    return rulings(storage).get(name_of(held), Ruling())


def active_bundles(storage: Reading) -> list[StoredBundle]:
    """The bundles that were not withdrawn, the latest last."""
    known = rulings(storage)
    return [one for one in storage.bundles() if not known.get(name_of(one), Ruling()).withdrawn]


def bundles_of(storage: Reading, row: str) -> list[StoredBundle]:
    """The bundles of a row by its name on the page, or the one bundle whose digest begins with `row`. Raises `UnknownName`."""
    held = storage.bundles()
    found = [one for one in held if one.upstream == row]
    if not found and re.fullmatch(rf"[0-9a-f]{{{SHORTEST},64}}", row):
        found = [one for one in held if one.digest and (one.digest.startswith(row) or row.startswith(one.digest))]
    if not found:
        names = {one.upstream for one in held}
        raise UnknownName("row of this board", row, names, "superbench board history BOARD")
    return found


def withdraw(writer: Writing, row: str, by: str, why: str = "") -> list[StoredBundle]:
    """Take a row off the board, all its versions; or one bundle, if `row` is a digest: then the version before it stands again.

    Returns what was withdrawn. Raises `UnknownName`, `CommandError` if that was done before.
    """
    known = rulings(writer)
    leaving = [one for one in bundles_of(writer, row) if not known.get(name_of(one), Ruling()).withdrawn]
    if not leaving:
        raise CommandError(f"{row!r} was withdrawn before. `superbench board history BOARD` says when, and by whom.")
    for one in leaving:
        writer.put("rulings", name_of(one), (json.dumps(asdict(Ruling(now(), by, why))) + "\n").encode())
        writer.log(event(by, "withdrawn", one.digest or one.upstream, f"{one.upstream}: {why}".rstrip(": ")))
    _release(writer, leaving)
    return leaving


def _release(writer: Writing, gone: list[StoredBundle]) -> None:
    """What was worked out for withdrawn bundles is not needed any more."""
    for bundle in filter(None, (_opened(writer, one) for one in gone)):
        for task in bundle.entries:
            forget(writer, bundle.digest, task)


def _opened(storage: Reading, held: StoredBundle) -> Bundle | None:
    """None for a bundle that cannot be read: it has no say."""
    try:
        return open_bundle(storage.data(held.place or held.digest))
    except Exception:  # whatever is wrong with it, the keeper must be able to remove it
        return None


# ---------------------------------------------------------------- history


@dataclass(frozen=True, slots=True)
class Version:
    """One bundle of a row: `standing` are its tasks that the board shows; `state` is stands, superseded, withdrawn or
    unreadable."""

    upstream: str
    accepted: str
    by: str
    digest: str
    revision: str
    tasks: tuple[str, ...]
    standing: tuple[str, ...]
    state: str
    why: str = ""


def history(storage: Reading, row: str | None = None) -> list[Version]:
    """All versions of a row (of all rows), the latest last: a newer one stands in place of an older one task by task."""
    known, held = rulings(storage), storage.bundles() if row is None else bundles_of(storage, row)
    found: list[Version] = []
    taken: set[Place] = set()
    for one in reversed(held):
        ruling, bundle = known.get(name_of(one), Ruling()), _opened(storage, one)
        entries = bundle.entries if bundle else {}
        places = {task: place_of(entry.result) for task, entry in entries.items()}
        fresh = [task for task, place in places.items() if place not in taken and not ruling.withdrawn]
        taken |= {places[task] for task in fresh}
        state = "withdrawn" if ruling.withdrawn else "stands" if fresh else "superseded" if bundle else "unreadable"
        revision = next((entry.result.upstream.revision for entry in entries.values()), "")
        found.append(
            Version(
                one.upstream, one.accepted, one.by, one.digest, revision, tuple(entries), tuple(fresh), state,
                f"{ruling.withdrawn} by {ruling.by}: {ruling.why}".rstrip(": ") if ruling.withdrawn else "",
            )
        )  # fmt: skip
    return found[::-1]
