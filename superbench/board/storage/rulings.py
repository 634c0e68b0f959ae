"""Rulings: the keeper's decisions about accepted bundles. The bundles themselves are not changed.

A ruling is a document of the storage, named after the bundle's digest, so that it is stored, saved and restored with the board.
A withdrawn bundle is not shown, and its name is free again. The same bundle is refused if it is submitted again.
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
"""Least number of digits of a digest that select a single bundle."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The time when a bundle was withdrawn (empty: it was not withdrawn), by whom, and why."""

    withdrawn: str = ""
    by: str = ""
    why: str = ""


def name_of(stored: StoredBundle) -> str:
    """Returns the name of a bundle's ruling: the first digits of its digest, or the name of a file that cannot be read."""
    return stored.digest[:SHORT] or re.sub(r"[^A-Za-z0-9_-]", "_", stored.upstream)[:80] or "_"


def rulings(storage: Reading) -> Mapping[str, Ruling]:
    """Returns all rulings by name."""
    documents = {name: storage.get("rulings", name) for name in storage.names("rulings")}
    return {name: _parsed(data) for name, data in documents.items() if data is not None}


def _parsed(data: bytes) -> Ruling:
    """Parses a ruling. A damaged ruling counts as a withdrawal; fields of later versions are ignored."""
    try:
        facts = json.loads(data)
        return Ruling(*(str(facts.get(field.name, "")) for field in fields(Ruling)))
    except (ValueError, AttributeError):
        return Ruling("at an unknown time", "an unknown person", "the ruling is damaged")


def ruling_of(storage: Reading, stored: StoredBundle) -> Ruling:
    """Returns the ruling about one bundle."""
    return rulings(storage).get(name_of(stored), Ruling())


def active_bundles(storage: Reading) -> list[StoredBundle]:
    """Returns the bundles that are not withdrawn, the latest last."""
    known = rulings(storage)
    return [stored for stored in storage.bundles() if not known.get(name_of(stored), Ruling()).withdrawn]


def bundles_of(storage: Reading, row: str) -> list[StoredBundle]:
    """Returns the bundles of the row with this name, or the bundle whose digest begins with `row`. Raises `UnknownName`."""
    bundles = storage.bundles()
    matching = [stored for stored in bundles if stored.upstream == row]
    if not matching and re.fullmatch(rf"[0-9a-f]{{{SHORTEST},64}}", row):
        digests = [stored for stored in bundles if stored.digest]  # a digest may be shortened
        matching = [stored for stored in digests if stored.digest.startswith(row) or row.startswith(stored.digest)]
    if not matching:
        names = {stored.upstream for stored in bundles}
        raise UnknownName("row of this board", row, names, "superbench board history BOARD")
    return matching


def withdraw(writer: Writing, row: str, by: str, why: str = "") -> list[StoredBundle]:
    """Removes all versions of a row from the board; or one bundle, if `row` is a digest, so that the version before is shown.

    Returns the withdrawn bundles. Raises `UnknownName`; `CommandError` if they are withdrawn already.
    """
    known = rulings(writer)
    withdrawn = [stored for stored in bundles_of(writer, row) if not known.get(name_of(stored), Ruling()).withdrawn]
    if not withdrawn:
        raise CommandError(f"{row!r} is withdrawn already. `superbench board history BOARD` shows when and by whom.")
    for stored in withdrawn:
        writer.put("rulings", name_of(stored), (json.dumps(asdict(Ruling(now(), by, why))) + "\n").encode())
        writer.log(event(by, "withdrawn", stored.digest or stored.upstream, f"{stored.upstream}: {why}".rstrip(": ")))
    _remove_evidence(writer, withdrawn)
    return withdrawn


def _remove_evidence(writer: Writing, withdrawn: list[StoredBundle]) -> None:
    """Removes the evidence of withdrawn bundles, which is no longer needed."""
    for bundle in filter(None, (_opened(writer, stored) for stored in withdrawn)):
        for task in bundle.entries:
            forget(writer, bundle.digest, task)


def _opened(storage: Reading, stored: StoredBundle) -> Bundle | None:
    """Opens a bundle; returns None if it cannot be read."""
    try:
        return open_bundle(storage.data(stored.place or stored.digest))
    except Exception:  # the keeper must be able to remove a bundle with any fault
        return None


# ---------------------------------------------------------------- history


@dataclass(frozen=True, slots=True)
class Version:
    """One bundle of a row. `standing`: its tasks that the board shows; `state`: stands, superseded, withdrawn or unreadable."""

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
    """Returns all versions of a row, or of all rows, the latest last. A newer version replaces an older one task by task."""
    known, bundles = rulings(storage), storage.bundles() if row is None else bundles_of(storage, row)
    versions: list[Version] = []
    taken: set[Place] = set()
    for stored in reversed(bundles):
        ruling, bundle = known.get(name_of(stored), Ruling()), _opened(storage, stored)
        entries = bundle.entries if bundle else {}
        places = {task: place_of(entry.result) for task, entry in entries.items()}
        fresh = [task for task, place in places.items() if place not in taken and not ruling.withdrawn]
        taken |= {places[task] for task in fresh}
        state = "withdrawn" if ruling.withdrawn else "stands" if fresh else "superseded" if bundle else "unreadable"
        revision = next((entry.result.upstream.revision for entry in entries.values()), "")
        versions.append(
            Version(
                upstream=stored.upstream, accepted=stored.accepted, by=stored.by, digest=stored.digest, revision=revision,
                tasks=tuple(entries), standing=tuple(fresh), state=state,
                why=f"{ruling.withdrawn} by {ruling.by}: {ruling.why}".rstrip(": ") if ruling.withdrawn else "",
            )
        )  # fmt: skip
    return versions[::-1]
