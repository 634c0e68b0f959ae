"""What a model is made of besides its weights: the project files that it imports, the files that it opens, its libraries.

Imports are followed from the model's own file by their text, whether or not another model has imported the same module before:
the same files give the same digests in whichever order models are loaded.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import FunctionType

from superbench.plugins.tracing import digest_of, is_project, read_of

UNNAMED = frozenset({"superbench", "builtins", *sys.stdlib_module_names})
"""Top-level names that are no part of a model: of Python, and of superbench, whose version stands beside."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Digests of a model's files by path, `code` and those `opened` besides, and its libraries as `name version`, sorted."""

    code: dict[str, str] = field(default_factory=dict)
    opened: dict[str, str] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()


def sources_of(root: str, kinds: Iterable[type] = (), opened: Mapping[str, str] | None = None) -> Sources:
    """The sources of a model that the module `root` makes of objects of `kinds`, for which files were `opened` (their digests).

    Imports are followed through project files and through the package of `root`; other packages are libraries. Raises `OSError`
    for a file that cannot be read.
    """
    parts = {base.__module__ for kind in kinds for base in kind.__mro__ if base.__module__ in sys.modules}
    own, libraries = _followed({root} | parts, root.partition(".")[0])
    code: dict[str, str] = {}
    files = dict(opened or {})
    for name, origin in own.items():
        known, file = read_of(name) or {}, os.path.realpath(origin)
        code[file] = known.get(file) or digest_of(file)
        files |= known
    return Sources(code, files, tuple(sorted(set(_versions(libraries)))))


def _followed(waiting: set[str], family: str) -> tuple[dict[str, str], set[str]]:
    """The modules that these are made of, each with its file: those of a project or of the package `family`; and the top-level
    names of all others."""
    own: dict[str, str] = {}
    libraries: set[str] = set()
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        top, origin = name.partition(".")[0], _origin(name)
        if origin is None or top == "__main__":
            continue
        if is_project(origin) or (top == family and top not in UNNAMED):
            own[name] = origin
            waiting |= _imports(name, origin) - seen
        elif top not in UNNAMED:
            libraries.add(top)
    return own, libraries


def unread(root: str) -> set[str]:
    """Project modules that `root` is made of, itself among them, and that somebody else imported before anything was noted:
    what runs in them may no longer be what their files say."""
    own, _ = _followed({root}, root.partition(".")[0])
    return {name for name, origin in own.items() if name in sys.modules and read_of(name) is None and is_project(origin)}


def code_of(root: str) -> str:
    """Digest of the files of the module `root` and of the project or package files that it imports."""
    code = sources_of(root).code
    return hashlib.sha256("\n".join(sorted(code.values())).encode()).hexdigest()[:16]


def _origin(name: str) -> str | None:
    """The file of a module, found without executing anything; None for what has none (built in, a namespace, an attribute)."""
    module = sys.modules.get(name)
    if module is not None:
        return getattr(module, "__file__", None)
    found = _found(name)
    return found.origin if found is not None and found.has_location else None


def _found(name: str) -> ModuleSpec | None:
    parent, _, _ = name.rpartition(".")
    places = _places(parent) if parent else sys.path
    with contextlib.suppress(KeyError):  # raised for a namespace within one that is not imported
        return PathFinder.find_spec(name, places) if places else None
    return None


def _places(name: str) -> list[str]:
    """Where the submodules of a package lie; nowhere for what is no package."""
    module = sys.modules.get(name)
    if module is not None:
        return list(getattr(module, "__path__", []))
    found = _found(name)
    if found is not None and found.has_location:
        return list(found.submodule_search_locations or [])
    parent, _, last = name.rpartition(".")
    folders = (os.path.join(folder, last) for folder in (_places(parent) if parent else sys.path))
    return [folder for folder in folders if os.path.isdir(folder)]  # a namespace, if anything


def _imports(name: str, origin: str) -> set[str]:
    """Absolute names that a module's text imports, wherever in it, with the packages that contain them; and the modules of
    what stands in its namespace, however that came there."""
    module = sys.modules.get(name)
    values = list(vars(module).values()) if module else []
    names = {str((value if isinstance(value, (type, FunctionType)) else type(value)).__module__) for value in values}
    if origin.endswith(".py"):
        is_package = os.path.basename(origin) == "__init__.py"
        package = getattr(module, "__package__", None) or (name if is_package else name.rpartition(".")[0])
        for node in ast.walk(ast.parse(Path(origin).read_bytes())):
            names |= set(_named(node, package))
    return {part for dotted in names if dotted for part in _with_parents(dotted)}


def _named(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        with contextlib.suppress(ImportError):  # an import that goes above its package fails when it is executed
            base = importlib.util.resolve_name("." * node.level + base, package) if node.level else base
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _versions(tops: Iterable[str]) -> Iterator[str]:
    """`name version` of the distributions that these top-level names belong to; those that are not installed have none."""
    strangers = []
    for top in tops:
        try:
            yield f"{top} {version(top)}"
        except (PackageNotFoundError, ValueError):
            strangers.append(top)
    if strangers:
        owners = packages_distributions()
        yield from (f"{owner} {version(owner)}" for top in strangers for owner in set(owners.get(top, ())))
