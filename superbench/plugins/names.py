"""Lists the registered names of upstreams, hubs and tasks from package metadata, and loads tasks by name."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

from superbench.errors import BrokenPlugin, CommandError, SuperbenchError, UnknownName
from superbench.plugins.entry_points import (
    DISTRIBUTION,
    HUBS as HUBS,
    IMPORTERS,
    KINDS,
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
from superbench.plugins.task_files import absolute, is_file, missing_parts, read_task

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
    """Returns the names that a hub offers, or how to write them; the hub itself is not imported. A hub that has registered
    neither has one entry, `ID`, with the first line of its documentation.

    Raises `UnknownName` for a hub that is not registered.
    """
    point, known = find(HUBS, "hub", hub), points(NAMES)
    if hub not in known:
        return [Offered("ID", first_line(point.module))]
    return [Offered(name, kind) for name, kind in load(known[hub])().items()]


def list_tasks() -> list[Listed]:
    """Returns all registered tasks, by name; none is imported."""
    return listed(TASKS)


def list_upstreams(hub: str | None = None) -> list[Listed] | list[Offered]:
    """Returns all registered upstreams by name, then the hubs as `hub/…`; or the names that one `hub` offers. None is imported.

    Raises `UnknownName` for a hub that is not registered.
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


LISTS = (".csv", ".tsv", ".jsonl")
"""Suffixes of lists of sounds, of which `superbench task new` makes a task."""


def task(name: str) -> Task:
    """Returns the registered task of that name, or that of `path/to/file.py:NAME`; raises `UnknownName` or `BrokenPlugin`. A
    built-in task is returned even if another distribution registers its name, because boards score with it."""
    if is_file(name):
        return read_task(name)
    if (suffix := Path(name).suffix.lower()) in LISTS:
        made = f"superbench task new --from {shlex.quote(name)}"
        raise CommandError(f"{name!r} is a list of sounds, no task. Make a task of it: {made}")
    if suffix == ".py":
        raise CommandError(f"{name!r} is a file of code; name the task in it, as in {name}:TASK.")
    return _as_task(find(TASKS, "task", _spelled(name)))


def distribution_of(task: str, kind: str = "") -> str:
    """Returns the distribution that registers a task, or the kind of an own task, with its version; empty for superbench's."""
    point = points(TASKS).get(task) or points(KINDS).get(kind)
    return "" if point is None or point.dist is None or point.dist.name == DISTRIBUTION else owner(point)


def _as_task(point: EntryPoint) -> Task:
    from superbench.contract import Task

    task = load(point)
    what = f"The plugin {point.name!r} ({point.value}, from {owner(point)})"
    if not isinstance(task, Task) or getattr(task.card, "name", None) != point.name:
        raise BrokenPlugin(f"{what} is no task of that name, but {str(task)[:60]!r}. Fix or uninstall {owner(point)}.")
    if missing := missing_parts(task):
        raise BrokenPlugin(f"{what} is no complete task: {'; '.join(missing)}. Fix or uninstall {owner(point)}.")
    return task


def kind(name: str) -> Callable[..., Task]:
    """Returns the function that makes tasks of a kind, such as `classification`; raises `UnknownName`, `BrokenPlugin`."""
    known = points(KINDS)
    if name not in known:
        raise UnknownName("kind of task", name, known, "superbench task new --help")
    refuse_claimed(KINDS, "kind of task", name)
    found: Callable[..., Task] = load(known[name])
    return found


def importer(name: str) -> Callable[..., dict[str, int]]:
    """Returns the function that imports copies of corpora in another form, such as `hf`; raises `UnknownName`,
    `BrokenPlugin`."""
    known = points(IMPORTERS)
    if name not in known:
        raise UnknownName("form of corpora", name, known, "superbench data import --help")
    refuse_claimed(IMPORTERS, "form of corpora", name)
    found: Callable[..., dict[str, int]] = load(known[name])
    return found


def chosen(names: Sequence[str] | str) -> dict[str, Task]:
    """Returns the tasks that a list or a text names (see `task_names`), by the names of their cards. Raises `CommandError` if
    two have the same name."""
    found: dict[str, Task] = {}
    for text in task_names(names):
        named = task(text)
        if named.card.name in found:
            raise CommandError(f"--tasks has two tasks called {named.card.name!r}; the second is {text}. Leave one out.")
        found[named.card.name] = named
    return found


def names_of(names: Sequence[str]) -> list[str]:
    """Returns names as results have them: that of the card in place of `path/to/file.py:NAME`. Others need not be
    registered."""
    return [task(name).card.name if is_file(name) else name for name in names]


def file_names(names: Sequence[str] | str) -> dict[str, str]:
    """Returns the tasks of own files among `names`: name of the card -> `/absolute/path/file.py:NAME`, for other processes."""
    files = [name for name in ([] if names == "all" else task_names(names)) if is_file(name)]
    return {task(name).card.name: absolute(name) for name in files}
