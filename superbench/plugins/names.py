"""Lists the registered names of upstreams, hubs and tasks from package metadata, and loads tasks by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

from superbench.errors import BrokenPlugin, CommandError, SuperbenchError
from superbench.plugins.entry_points import (
    DISTRIBUTION,
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
    """A registered name with its module, its distribution, and the first line of its module's docstring."""

    name: str
    module: str
    distribution: str
    line: str


@dataclass(frozen=True, slots=True)
class Offered:
    """A name that a hub offers, with the family of its model."""

    name: str
    kind: str


def listed(group: str) -> list[Listed]:
    """Returns all names of an entry-point group, sorted; nothing is imported."""
    return [
        Listed(name, point.value, point.dist.name if point.dist else "?", first_line(point.module))
        for name, point in points(group).items()
    ]


def offered(hub: str) -> list[Offered]:
    """Returns the names that a hub offers; the hub itself is not imported.

    Raises `UnknownName` for a hub that is not registered, `CommandError` for a hub without a list of names.
    """
    find(HUBS, "hub", hub)
    known = points(NAMES)
    if hub not in known:
        raise CommandError(f"The hub {hub!r} has no list of names. Use the id of a model on that hub, as in {hub}/ID.")
    return [Offered(name, kind) for name, kind in load(known[hub])().items()]


def list_tasks() -> list[Listed]:
    """Returns all registered tasks, by name; none is imported."""
    return listed(TASKS)


def list_upstreams(hub: str | None = None) -> list[Listed] | list[Offered]:
    """Returns all registered upstreams by name, then the hubs as `hub/…`; or the names that one `hub` offers. None is imported.

    Raises `UnknownName` for a hub that is not registered, `CommandError` for a hub without a list of names.
    """
    if hub is not None:
        return offered(hub)
    hubs = [replace(row, name=f"{row.name}/…") for row in listed(HUBS)]
    return listed(UPSTREAMS) + hubs


def task_names(names: Sequence[str] | str) -> list[str]:
    """Returns the names in a list or in a text such as `pr,ks`, each once; for `all`, those of all tasks that can be loaded.
    Raises `CommandError` for an empty name."""
    if names == "all":
        return list(tasks())
    if not isinstance(names, Iterable):
        raise CommandError(f"tasks={names!r:.80}: expected names, as in 'ks,ic' or ['ks', 'ic'], or 'all'.")
    parts = names.split(",") if isinstance(names, str) else list(names)
    if not parts or not all(parts):
        raise CommandError("--tasks names no task. Expected all, or names such as pr,ks; `superbench list tasks` shows them.")
    return list(dict.fromkeys(_spelled(part) for part in parts))


def _spelled(name: str) -> str:
    """Returns the registered task that differs from `name` in case and in blanks around it only; else `name`."""
    known = points(TASKS)
    return name if name in known else next((other for other in known if other.casefold() == name.strip().casefold()), name)


def tasks() -> dict[str, Task]:
    """Imports and returns all registered tasks by name, sorted, without those that cannot be loaded (see `broken`)."""
    by_name = {}
    for name, point in points(TASKS).items():
        with contextlib.suppress(SuperbenchError):
            by_name[name] = _as_task(point)
    return by_name


def broken() -> dict[str, str]:
    """Returns the registered tasks that cannot be used, or that several distributions register, each with the error message."""
    messages = {}
    for name, point in points(TASKS).items():
        try:
            _as_task(point)
            refuse_claimed(TASKS, "task", name)
        except SuperbenchError as error:
            messages[name] = str(error)
    return messages


def task(name: str) -> Task:
    """Returns the registered task of that name; raises `UnknownName` or `BrokenPlugin`. A built-in task is returned even if
    another distribution registers its name, because boards score with it."""
    return _as_task(find(TASKS, "task", _spelled(name)))


def distribution_of(task: str) -> str:
    """Returns the distribution that registers a task, with its version; empty for a built-in task and for one of a file."""
    point = points(TASKS).get(task)
    return "" if point is None or point.dist is None or point.dist.name == DISTRIBUTION else owner(point)


def _as_task(point: EntryPoint) -> Task:
    from superbench.contract import Task

    task = load(point)
    if not isinstance(task, Task) or task.card.name != point.name:
        raise BrokenPlugin(
            f"The plugin {point.name!r} ({point.value}, from {owner(point)}) is no task of that name, but {str(task)[:60]!r}. "
            f"Fix or uninstall {owner(point)}."
        )
    return task
