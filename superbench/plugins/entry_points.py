"""Lists and loads the models and tasks that installed distributions register as entry points.

Names are read from package metadata; nothing is imported. Built-in names are reserved for superbench: if another distribution
registers one, the error names that distribution.
"""

from __future__ import annotations

import ast
import importlib.util
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from superbench.errors import BrokenPlugin, SuperbenchError, UnknownName

DISTRIBUTION = "speech-superbench"
UPSTREAMS, HUBS, NAMES, TASKS = "superbench.upstreams", "superbench.hubs", "superbench.names", "superbench.tasks"


def points(group: str) -> dict[str, EntryPoint]:
    """Returns the entry points of a group by name, sorted. If several distributions register a name, it is the built-in entry
    point, or else the last by distribution name; `refuse_claimed` raises an error for such a name."""
    built_in_last = sorted(entry_points(group=group), key=lambda point: (_built_in(point), owner(point)))
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
    """Imports and returns the object of an entry point; raises `BrokenPlugin`, which names the distribution."""
    try:
        return point.load()
    except (SuperbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise BrokenPlugin(
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
    """Returns the first line of a module's docstring; the module is not imported."""
    try:
        spec = importlib.util.find_spec(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # its package does not exist, or fails when it is imported
        return f"(broken: {type(error).__name__}: {error})"
    if spec is None or spec.origin is None:
        return "(cannot be found)"
    try:
        text = ast.get_docstring(ast.parse(Path(spec.origin).read_bytes())) or ""
    except (OSError, ValueError, SyntaxError) as error:
        return f"(broken: {type(error).__name__}: {error})"
    return text.partition("\n")[0]
