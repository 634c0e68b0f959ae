"""Registered names of upstreams, hubs and tasks: listed from package metadata, loaded when they are chosen."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

from superbench.errors import BrokenPlugin, CommandError, SuperbenchError
from superbench.plugins.entry_points import (
    HUBS as HUBS,
    NAMES as NAMES,
    TASKS as TASKS,
    UPSTREAMS as UPSTREAMS,
    find,
    first_line,
    load,
    owner,
    points,
    refuse_claimed as refuse_claimed,
)

if TYPE_CHECKING:
    from superbench.contract import Task


@dataclass(frozen=True, slots=True)
class Listed:
    """A registered name, where it comes from, and the first line of its module's docstring."""

    name: str
    module: str
    distribution: str
    line: str


@dataclass(frozen=True, slots=True)
class Offered:
    """A name that a hub offers, with its family or kind."""

    name: str
    kind: str


def listed(group: str) -> list[Listed]:
    """All names registered in an entry-point group, sorted; nothing is imported."""
    return [
        Listed(name, point.value, point.dist.name if point.dist else "?", first_line(point.module))
        for name, point in points(group).items()
    ]


def offered(hub: str) -> list[Offered]:
    """Names that a hub offers; the hub itself is not imported.

    Raises `UnknownName` for a hub that is not there, `CommandError` for one that lists nothing.
    """
    find(HUBS, "hub", hub)
    known = points(NAMES)
    if hub not in known:
        raise CommandError(f"The hub {hub!r} has no list of names here: an id of its own hub is a name, as in {hub}/ID.")
    return [Offered(name, kind) for name, kind in load(known[hub])().items()]


def list_tasks() -> list[Listed]:
    """All registered tasks, by name; none is imported."""
    return listed(TASKS)


def list_upstreams(hub: str | None = None) -> list[Listed] | list[Offered]:
    """All registered upstreams by name, then the hubs as `hub/…`; or the names that one `hub` offers. None is imported.

    Raises `UnknownName` for a hub that is not there, `CommandError` for one that lists nothing.
    """
    if hub is not None:
        return offered(hub)
    hubs = [replace(row, name=f"{row.name}/…") for row in listed(HUBS)]
    return listed(UPSTREAMS) + hubs


def task_names(wanted: Sequence[str] | str) -> list[str]:
    """Names of tasks from a list or a text such as `pr,ks`, each once; `all` is every one that is not broken. Raises
    `CommandError`."""
    if wanted == "all":
        return list(tasks())
    names = wanted.split(",") if isinstance(wanted, str) else list(wanted)
    if not names or not all(names):
        raise CommandError("--tasks names no task. Expected all, or names such as pr,ks; `superbench list tasks` shows them.")
    return list(dict.fromkeys(names))


def tasks() -> dict[str, Task]:
    """All registered tasks by name, sorted; each is imported. Those that are broken stop none of the others: see `broken`."""
    found = {}
    for name, point in points(TASKS).items():
        with contextlib.suppress(SuperbenchError):
            found[name] = _as_task(point)
    return found


def broken() -> dict[str, str]:
    """Registered tasks that cannot be used, or that take the name of another, each with a sentence that says why."""
    found = {}
    for name, point in points(TASKS).items():
        try:
            _as_task(point)
            refuse_claimed(TASKS, "task", name)
        except SuperbenchError as error:
            found[name] = str(error)
    return found


def task(name: str) -> Task:
    """The registered task of that name; raises `UnknownName` or `BrokenPlugin`. A built-in one keeps its name whoever else
    registers it: a board scores with it."""
    return _as_task(find(TASKS, "task", name))


def _as_task(point: EntryPoint) -> Task:
    from superbench.contract import Task

    found = load(point)
    if not isinstance(found, Task) or found.card.name != point.name:
        raise BrokenPlugin(
            f"The plugin {point.name!r} ({point.value}, from {owner(point)}) is no task of that name, but {str(found)[:60]!r}. "
            f"Mend or uninstall {owner(point)}."
        )
    return found
