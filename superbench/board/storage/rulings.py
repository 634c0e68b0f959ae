"""Rulings: decisions about accepted bundles by the keeper, an admin or the owner. The bundles themselves are not changed.

A ruling is a document of the storage, named after the bundle's digest, so that it is stored, saved and restored with the board.
A withdrawn bundle is not shown, and its name is free again. The same bundle is refused if it is submitted again. A ruling may
also hide a bundle, give it another name or another owner (see `row_changes`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

from superbench.board.bundles.bundle import Bundle, open_bundle
from superbench.board.bundles.lookalikes import folded
from superbench.board.storage.base import Reading, StoredBundle, Writing, event, now
from superbench.board.storage.sealed_evidence import forget
from superbench.errors import CommandError, Conflict, Malformed, UnknownName, first_of

SHORT = 12
SHORTEST = 8
"""Least number of digits of a digest that select a single bundle."""
LONGEST_REASON = 500
"""Characters of the reason for a withdrawal."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The decisions about one bundle; empty texts: there is none.

    `withdrawn`, `by`, `why`: when it was withdrawn, by whom, and why. `hidden`: the same in one text. `name`: the new name of
    its row. `transferred`: when the row was given to `owner` (the name of a token; empty: the keeper).
    """

    withdrawn: str = ""
    by: str = ""
    why: str = ""
    hidden: str = ""
    name: str = ""
    transferred: str = ""
    owner: str = ""

    def __str__(self) -> str:
        """Returns when, by whom and why it was withdrawn; empty if it was not."""
        return f"{self.withdrawn} by {self.by}: {self.why}".rstrip(": ") if self.withdrawn else ""


class AlreadyWithdrawn(CommandError):
    """What should be withdrawn is withdrawn already."""


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
        return Ruling(**{field.name: str(facts.get(field.name, "")) for field in fields(Ruling)})
    except (ValueError, AttributeError):
        return Ruling("at an unknown time", "an unknown person", "the ruling is damaged")


def write(writer: Writing, stored: StoredBundle, ruling: Ruling) -> None:
    """Stores the ruling about one bundle."""
    writer.put("rulings", name_of(stored), (json.dumps(asdict(ruling)) + "\n").encode())


def ruling_of(storage: Reading, stored: StoredBundle) -> Ruling:
    """Returns the ruling about one bundle."""
    return rulings(storage).get(name_of(stored), Ruling())


def ruled(known: Mapping[str, Ruling], stored: StoredBundle) -> StoredBundle:
    """Returns the record of a bundle with the present name of its row, and its present owner as `by`."""
    ruling = known.get(name_of(stored), Ruling())
    return replace(stored, upstream=ruling.name or stored.upstream, by=ruling.owner if ruling.transferred else stored.by)


def active_bundles(storage: Reading) -> list[StoredBundle]:
    """Returns the bundles that are not withdrawn, the latest last, with their present names and owners (see `ruled`)."""
    known = rulings(storage)
    return [ruled(known, stored) for stored in storage.bundles() if not known.get(name_of(stored), Ruling()).withdrawn]


def is_like_digest(name: str) -> bool:
    """Returns whether a model's name could be taken for the digest of a bundle, also in capitals or wide digits.

    >>> is_like_digest("80be01e914c8"), is_like_digest("80BE01E9"), is_like_digest("20261129"), is_like_digest("facade")
    (True, True, True, False)
    """
    return re.fullmatch(rf"[0-9a-f]{{{SHORTEST},}}", folded(name)) is not None


def bundles_of(bundles: Sequence[StoredBundle], row: str) -> list[StoredBundle]:
    """Returns the bundles of the row with this name, and those whose digest begins with `row`."""
    digits = row if re.fullmatch(rf"[0-9a-f]{{{SHORTEST},64}}", row) else None
    return [stored for stored in bundles if stored.upstream == row or (digits and _begins(stored.digest, digits))]


def _begins(digest: str, digits: str) -> bool:
    """Returns whether a digest, which may be shortened, begins with these digits."""
    return bool(digest) and (digest.startswith(digits) or digits.startswith(digest))


def unknown(bundles: Sequence[StoredBundle], row: str) -> UnknownName:
    """Returns the error for a row that a board does not have; it suggests the nearest names."""
    return UnknownName("row of this board", row, {stored.upstream for stored in bundles}, "superbench board history BOARD")


def withdraw(writer: Writing, row: str, by: str, why: str = "") -> list[StoredBundle]:
    """Removes all versions of a row from the board; or one bundle, if `row` is a digest, so that the version before is shown.

    Returns the withdrawn bundles, with all digits of their digests. Raises `UnknownName`; `AlreadyWithdrawn`; `Conflict` if
    `row` fits more than one row or one bundle; `Malformed` for a reason that cannot be printed.
    """
    require_reason(why)
    known = rulings(writer)
    every = [ruled(known, stored) for stored in writer.bundles()]
    fitting = bundles_of(every, row)
    standing = [stored for stored in fitting if not known.get(name_of(stored), Ruling()).withdrawn]
    if not fitting:
        raise unknown(every, row)
    if not standing:
        last = known[name_of(fitting[-1])]
        raise AlreadyWithdrawn(f"{row!r} is withdrawn already: {last}.")
    _require_single(standing, row)
    opened_bundles = [(stored, opened(writer, stored)) for stored in standing]
    withdrawn = [replace(stored, digest=bundle.digest) if bundle else stored for stored, bundle in opened_bundles]
    for stored in withdrawn:
        write(writer, stored, replace(known.get(name_of(stored), Ruling()), withdrawn=now(), by=by, why=why))
        writer.log(event(by, "withdrawn", stored.digest or stored.upstream, f"{stored.upstream}: {why}".rstrip(": ")))
    _remove_evidence(writer, [bundle for _, bundle in opened_bundles if bundle])
    return withdrawn


def require_reason(why: str) -> None:
    """Requires a reason that is one printed line of the log and of the history; raises `Malformed`."""
    hidden = next((character for character in why if not character.isprintable()), None)
    if hidden is not None:
        raise Malformed(
            f"The reason contains U+{ord(hidden):04X}, which cannot be printed. Write it on one line, in printable characters.",
            "because",
        )
    if len(why) > LONGEST_REASON:
        raise Malformed(f"The reason has {len(why)} characters; at most {LONGEST_REASON} are kept. Shorten it.", "because")


def _require_single(standing: Sequence[StoredBundle], row: str) -> None:
    """Requires bundles of one name, all of them selected by this name, or one bundle selected by its digest."""
    named = all(stored.upstream == row for stored in standing)
    if named or len({name_of(stored) for stored in standing}) == 1:
        return
    listed = first_of([f"{stored.upstream} ({stored.digest[:SHORT]}, {stored.accepted or 'by hand'})" for stored in standing])
    raise Conflict(
        f"{row!r} fits {len(standing)} bundles: {listed}. Nothing was withdrawn. Give the name of one row, or more digits (or "
        "fewer, if it is also a name) of the digest of one bundle.",
        "ambiguous",
    )


def _remove_evidence(writer: Writing, withdrawn: Sequence[Bundle]) -> None:
    """Removes the evidence of withdrawn bundles, which is no longer needed."""
    for bundle in withdrawn:
        for task in bundle.entries:
            forget(writer, bundle.digest, task)


def opened(storage: Reading, stored: StoredBundle) -> Bundle | None:
    """Opens a bundle; returns None if it cannot be read."""
    try:
        return open_bundle(storage.data(stored.place or stored.digest))
    except Exception:  # the keeper must be able to remove a bundle with any fault
        return None
