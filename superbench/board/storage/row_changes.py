"""Changes of a row on the board: hidden from readers or shown, renamed, given to another owner.

Each change is a ruling about every bundle of the row, and an event in the log. A row is selected by its name. The owner of a
row may hide and show it; an admin and the keeper may make all changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from superbench.board.bundles import lookalikes, strict_json
from superbench.board.storage import tokens
from superbench.board.storage.base import KEEPER, Reading, StoredBundle, Writing, event, now
from superbench.board.storage.rulings import (
    Ruling,
    active_bundles,
    is_like_digest,
    name_of,
    require_reason,
    ruled,
    rulings,
    unknown,
    write,
)
from superbench.errors import CommandError, Conflict


class Unchanged(CommandError):
    """The row is as the change would make it."""


@dataclass(frozen=True, slots=True)
class By:
    """Who makes a change, and why; `own`: only of rows of this owner."""

    name: str = KEEPER
    why: str = ""
    own: bool = False


def hide(writer: Writing, row: str, by: By, *, hidden: bool = True) -> list[StoredBundle]:
    """Hides all versions of a row from readers without a token, also those that follow; or shows the row again.

    Raises `UnknownName`; `NotAllowed` for a row of somebody else; `Unchanged`; `Malformed` for a reason that cannot be printed.
    """
    known, bundles = rulings(writer), _row(writer, row, by)
    if all(bool(known.get(name_of(stored), Ruling()).hidden) is hidden for stored in bundles):
        raise Unchanged(f"{row!r} is {'hidden already' if hidden else 'not hidden'}.")
    text = f"{now()} by {by.name}: {by.why}".rstrip(": ") if hidden else ""
    return _change(writer, bundles, by, "hidden" if hidden else "shown", lambda ruling: replace(ruling, hidden=text))


def hide_new(writer: Writing, stored: StoredBundle, by: str) -> None:
    """Hides a bundle that was accepted just now: its sender asked for it, or the row is hidden."""
    write(writer, stored, Ruling(hidden=f"{now()} by {by}"))
    writer.log(event(by, "hidden", stored.digest, stored.upstream))


def rename(writer: Writing, row: str, name: str, by: By) -> list[StoredBundle]:
    """Gives a row another name; the old name is free. Raises `UnknownName`, `Unchanged`; `Malformed` or `Conflict` for the new
    name."""
    bundles = _row(writer, row, by)
    if name == row:
        raise Unchanged(f"The row is called {row!r} already.")
    strict_json.name(name, "The new name")
    lookalikes.require_legible(name, "The new name")
    require_free(name, [stored.upstream for stored in active_bundles(writer) if stored.upstream != row])
    if any(stored.upstream == name for stored in active_bundles(writer)):
        raise Conflict(f"The name {name!r} is on this board already. Choose another one.", "name")
    return _change(writer, bundles, by, "renamed", lambda ruling: replace(ruling, name=name), f"{row} -> {name}")


def transfer(writer: Writing, row: str, owner: str, by: By) -> list[StoredBundle]:
    """Gives a row to another owner: the name of a valid token that may submit, or `keeper`.

    Raises `UnknownName` for the row, `CommandError` for the owner, `Unchanged`.
    """
    bundles = _row(writer, row, by)
    new = "" if owner == KEEPER else owner
    if new:
        tokens.require_submitter(writer, new)
    if all(stored.by == new for stored in bundles):
        raise Unchanged(f"{row!r} belongs to {owner} already.")
    remark = f"{row}: {' and '.join(sorted({stored.by or KEEPER for stored in bundles}))} -> {owner}"
    return _change(writer, bundles, by, "transferred", lambda ruling: replace(ruling, transferred=now(), owner=new), remark)


def require_free(name: str, others: list[str]) -> None:
    """Raises `Conflict` for a name that looks like a digest, like one of `others`, or like that of a published row."""
    if is_like_digest(name):
        raise Conflict(f"The name {name!r} looks like the digest of a bundle. Run under an alias: alias=spec.", "name")
    similar = next((other for other in others if other != name and lookalikes.alike(other, name)), None)
    if similar is not None:
        raise Conflict(
            f"The name {name!r} looks like {similar!r}, which is on this board. Run under an alias: alias=spec.", "name"
        )
    if published := lookalikes.impersonated(name):
        raise Conflict(f"The name {name!r} imitates the published row {published!r}. Run under an alias: alias=spec.", "name")


def hidden_names(storage: Reading) -> set[str]:
    """Returns the names of the rows that are hidden."""
    known = rulings(storage)
    bundles = ((ruled(known, stored), known.get(name_of(stored), Ruling())) for stored in storage.bundles())
    return {stored.upstream for stored, ruling in bundles if ruling.hidden and not ruling.withdrawn}


def _row(writer: Writing, row: str, by: By) -> list[StoredBundle]:
    """Returns the bundles of a row, with their present names and owners."""
    require_reason(by.why)
    bundles = active_bundles(writer)
    found = [stored for stored in bundles if stored.upstream == row]
    if not found:
        raise unknown(bundles, row)
    if by.own and any(stored.by != by.name for stored in found):
        raise tokens.too_weak(by.name, f"the row {row!r} belongs to somebody else")
    return found


def _change(
    writer: Writing, bundles: list[StoredBundle], by: By, what: str, change: Callable[[Ruling], Ruling], about: str = ""
) -> list[StoredBundle]:
    known = rulings(writer)
    for stored in bundles:
        write(writer, stored, change(known.get(name_of(stored), Ruling())))
        remark = f"{about or stored.upstream}: {by.why}".rstrip(": ")
        writer.log(event(by.name, what, stored.digest or stored.upstream, remark))
    changed = rulings(writer)
    return [ruled(changed, stored) for stored in bundles]
