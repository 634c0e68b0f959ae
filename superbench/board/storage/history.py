"""The history of a board: all versions of its rows, and which of their tasks the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from superbench.board.storage.base import Reading, StoredBundle
from superbench.board.storage.rulings import Ruling, bundles_of, name_of, opened, ruled, rulings, unknown
from superbench.results.rows import Place, place_of


@dataclass(frozen=True, slots=True)
class Version:
    """One bundle of a row. `by` submitted it, and `owner` owns its row now. `standing`: its tasks that the board shows.

    `state`: stands, hidden, superseded, withdrawn, unreadable, or not shown; `why`: who withdrew or hid it and why, or why
    tasks are not shown.
    """

    upstream: str
    accepted: str
    by: str
    digest: str
    revision: str
    tasks: tuple[str, ...]
    standing: tuple[str, ...]
    state: str
    why: str = ""
    owner: str = ""


NotShown = Mapping[tuple[str, str], str]
"""Why the page does not show a task of a bundle that stands: (digest, name of the entry) -> reason."""


def history(storage: Reading, row: str | None = None) -> list[Version]:
    """Returns all versions of a row, or of all rows, the latest last. A newer version replaces an older one task by task.

    Raises `UnknownName`.
    """
    known, bundles = rulings(storage), storage.bundles()
    named = {stored.place: ruled(known, stored) for stored in bundles}
    wanted = list(named.values()) if row is None else bundles_of(list(named.values()), row)
    if row is not None and not wanted:
        raise unknown(list(named.values()), row)
    versions: list[Version] = []
    taken: set[Place] = set()
    for stored in reversed(bundles):  # also the others: what stands of a bundle depends on those after it
        current = named[stored.place]
        version, fresh = _version(storage, current, known.get(name_of(stored), Ruling()), taken)
        taken |= fresh
        versions += [replace(version, by=stored.by)] if current in wanted else []
    return versions[::-1]


def _version(storage: Reading, stored: StoredBundle, ruling: Ruling, taken: set[Place]) -> tuple[Version, set[Place]]:
    """Returns the version of a bundle, and the places on the board that it takes; `taken` are those of newer bundles."""
    bundle = opened(storage, stored)
    entries = bundle.entries if bundle else {}
    places = {task: (stored.upstream, *place_of(entry.result)[1:]) for task, entry in entries.items()}
    fresh = [task for task, place in places.items() if place not in taken and not ruling.withdrawn]
    stands = "hidden" if ruling.hidden else "stands"
    state = "withdrawn" if ruling.withdrawn else stands if fresh else "superseded" if bundle else "unreadable"
    version = Version(
        upstream=stored.upstream, accepted=stored.accepted, by=stored.by, owner=stored.by,
        digest=bundle.digest if bundle else stored.digest,
        revision=next((entry.result.upstream.revision for entry in entries.values()), ""), tasks=tuple(entries),
        standing=tuple(fresh), state=state, why=str(ruling) or ruling.hidden,
    )  # fmt: skip
    return version, {places[task] for task in fresh}


def without_not_shown(versions: Sequence[Version], not_shown: NotShown) -> list[Version]:
    """Returns the versions without the tasks, among those that stand, that the page does not show."""
    return [_without_not_shown(version, not_shown) for version in versions]


def _without_not_shown(version: Version, not_shown: NotShown) -> Version:
    missing = {task: not_shown[version.digest, task] for task in version.standing if (version.digest, task) in not_shown}
    if not missing:
        return version
    shown = tuple(task for task in version.standing if task not in missing)
    reasons = "; ".join(f"{task}: {reason}" for task, reason in missing.items())
    return replace(
        version,
        standing=shown,
        state=version.state if shown else "not shown",
        why=f"not shown: {reasons}" if shown else reasons,
    )
