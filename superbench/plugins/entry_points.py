"""Lists and loads the models and tasks that installed distributions register as entry points.

Names are read from package metadata; nothing is imported. Built-in names are reserved for superbench: if another distribution
registers one, the error names that distribution.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import sys
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

from superbench.errors import BrokenPlugin, EndedProcess, SuperbenchError, UnknownName
from superbench.plugins.rehearsal import rehearse

DISTRIBUTION = "speech-superbench"
UPSTREAMS, HUBS, NAMES, TASKS = "superbench.upstreams", "superbench.hubs", "superbench.names", "superbench.tasks"
PAIRS, KINDS, IMPORTERS = "superbench.pairs", "superbench.kinds", "superbench.importers"


def entry_points(**wanted: str) -> EntryPoints:
    """Returns the entry points with these attributes (`group`, `name`, `value`).

    The metadata of all distributions are read again only if a folder of `sys.path` has changed; reading hundreds of files takes
    tens of milliseconds, and names are looked up often.
    """
    folders = [folder or os.curdir for folder in sys.path]
    everything = _read(tuple((name, os.stat(name).st_mtime_ns) for name in folders if os.path.exists(name)))
    chosen: EntryPoints = everything.select(**wanted)
    return chosen


@lru_cache(maxsize=1)
def _read(state: tuple[tuple[str, int], ...]) -> Any:
    """Returns all entry points, of a class that differs among versions of Python; `state`: the folders of `sys.path` with the
    times of their last change."""
    return importlib.metadata.entry_points()


def points(group: str) -> dict[str, EntryPoint]:
    """Returns the entry points of a group by name, sorted. If several distributions register a name, it is the built-in entry
    point, or else the last by distribution name; `refuse_claimed` raises an error for such a name."""
    registered = entry_points(group=group)
    distributions = {id(point.dist): point for point in registered}  # each access to a name or version parses the metadata
    order = {key: (_built_in(point), owner(point)) for key, point in distributions.items()}
    built_in_last = sorted(registered, key=lambda point: order[id(point.dist)])
    return dict(sorted({point.name: point for point in built_in_last}.items()))


def find(group: str, kind: str, name: str) -> EntryPoint:
    """Returns the entry point of a name; raises `UnknownName`, or `BrokenPlugin` if several distributions register it.

    A built-in task is returned even if another distribution registers its name, because boards score with it.
    """
    known = points(group)
    if name not in known:
        raise UnknownName(kind, name, known, f"superbench list {'tasks' if group == TASKS else 'upstreams'}")
    if group != TASKS or not _built_in(known[name]):
        refuse_claimed(group, kind, name)
    return known[name]


def load(point: EntryPoint) -> Any:
    """Imports and returns the object of an entry point; raises `BrokenPlugin`, which names the distribution.

    The code of another distribution is first imported in a child process.
    """
    if point.module not in sys.modules and not _built_in(point):
        what = f"The plugin {point.name!r} ({point.value}, from {owner(point)})"
        rehearse(_load_again, point.group, point.name, point.value, what=what)
    return _loaded(point)


def _load_again(group: str, name: str, value: str) -> None:
    """Imports an entry point in a child process."""
    for point in entry_points(group=group, name=name, value=value):
        _loaded(point)


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except (SuperbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        kind = EndedProcess if isinstance(error, SystemExit) else BrokenPlugin
        raise kind(
            f"The plugin {point.name!r} ({point.value}, from {owner(point)}) could not be imported: {type(error).__name__}: "
            f"{error}. Fix or uninstall {owner(point)}."
        ) from error


def refuse_claimed(group: str, kind: str, name: str) -> None:
    """Raises `BrokenPlugin`, which names the distributions, if several register a name."""
    owners = {owner(point): point for point in entry_points(group=group, name=name)}
    if len(owners) > 1:
        others = " and ".join(sorted(distribution for distribution, point in owners.items() if not _built_in(point)))
        whose = "a built-in" if any(_built_in(point) for point in owners.values()) else "the same"
        raise BrokenPlugin(
            f"The {kind} {name!r} is refused: {others} registered the name of {whose} {kind}. Uninstall {others}, or register "
            "another name."
        )


def _built_in(point: EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == DISTRIBUTION


def owner(point: EntryPoint) -> str:
    """Returns the distribution that registered an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"


def first_line(module: str) -> str:
    """Returns the first line of a module's docstring; neither the module nor its package is imported."""
    source = _source(module)
    if source is None:
        return "(cannot be found)"
    try:
        text = ast.get_docstring(ast.parse(Path(source).read_bytes())) or ""
    except (OSError, ValueError, SyntaxError) as error:
        return f"(broken: {type(error).__name__}: {error})"
    return text.partition("\n")[0]


def _source(module: str) -> str | None:
    """The file of a module. Its packages are searched, not imported."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a module that was made in memory
        return None
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    return None if spec is None else spec.origin
