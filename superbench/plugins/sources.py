"""Finds the files and libraries of a model: the project files that it imports, the files that it opens, its packages.

Imports are read from the text of the files, starting at the model's own file, even if another model has imported the same
module before. So the digests do not depend on the order in which models are loaded.
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
"""Top-level names that are not part of a model: those of Python, and superbench, whose version is recorded separately."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Digests of a model's files by path (`code`, and other files that it `opened`), and its libraries as `name version`."""

    code: dict[str, str] = field(default_factory=dict)
    opened: dict[str, str] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()


def sources_of(root: str, classes: Iterable[type] = (), opened: Mapping[str, str] | None = None) -> Sources:
    """Returns the sources of a model. The module `root` defines it, it has parts of these `classes`, and it `opened` files
    (path -> digest).

    Imports are followed through project files and through the package of `root`; other packages are libraries. Raises `OSError`
    for a file that cannot be read.
    """
    parents = {parent.__module__ for part in classes for parent in part.__mro__ if parent.__module__ in sys.modules}
    modules, libraries = _followed({root} | parents, root.partition(".")[0])
    code: dict[str, str] = {}
    files = dict(opened or {})
    for name, origin in modules.items():
        recorded, file = read_of(name) or {}, os.path.realpath(origin)
        code[file] = recorded.get(file) or digest_of(file)
        files |= recorded
    return Sources(code, files, tuple(sorted(set(_versions(libraries)))))


def _followed(waiting: set[str], package: str) -> tuple[dict[str, str], set[str]]:
    """Returns the modules that these import, directly or not: modules of a project or of `package`, with their files; and the
    top-level names of all others."""
    modules: dict[str, str] = {}
    libraries: set[str] = set()
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        top, origin = name.partition(".")[0], _origin(name)
        if origin is None or top == "__main__":
            continue
        if is_project(origin) or (top == package and top not in UNNAMED):
            modules[name] = origin
            waiting |= _imports(name, origin) - seen
        elif top not in UNNAMED:
            libraries.add(top)
    return modules, libraries


def unread(root: str) -> set[str]:
    """Returns the project modules, `root` and its imports, that were imported before their digests were recorded: their files
    may have changed since."""
    modules, _ = _followed({root}, root.partition(".")[0])
    return {name for name, origin in modules.items() if name in sys.modules and read_of(name) is None and is_project(origin)}


def code_of(root: str) -> str:
    """Returns the digest of the files of the module `root` and of the project or package files that it imports."""
    code = sources_of(root).code
    return hashlib.sha256("\n".join(sorted(code.values())).encode()).hexdigest()[:16]


def _origin(name: str) -> str | None:
    """Returns the file of a module without executing it; None if it has no file (a built-in, a namespace, an attribute)."""
    module = sys.modules.get(name)
    if module is not None:
        return getattr(module, "__file__", None)
    spec = _spec(name)
    return spec.origin if spec is not None and spec.has_location else None


def _spec(name: str) -> ModuleSpec | None:
    parent, _, _ = name.rpartition(".")
    folders = _folders(parent) if parent else sys.path
    with contextlib.suppress(KeyError):  # raised for a namespace inside another one that is not imported
        return PathFinder.find_spec(name, folders) if folders else None
    return None


def _folders(name: str) -> list[str]:
    """Returns the folders of a package's submodules; no folders for a module that is no package."""
    module = sys.modules.get(name)
    if module is not None:
        return list(getattr(module, "__path__", []))
    spec = _spec(name)
    if spec is not None and spec.has_location:
        return list(spec.submodule_search_locations or [])
    parent, _, last = name.rpartition(".")
    folders = (os.path.join(folder, last) for folder in (_folders(parent) if parent else sys.path))
    return [folder for folder in folders if os.path.isdir(folder)]  # those of a namespace package


def _imports(name: str, origin: str) -> set[str]:
    """Returns the absolute names of all imports in a module's text, with the packages that contain them; and the modules that
    define the objects in its namespace."""
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
    """Yields `name version` of the distributions that these top-level names belong to; nothing for those not installed."""
    unknown = []  # names that differ from the name of their distribution
    for top in tops:
        try:
            yield f"{top} {version(top)}"
        except (PackageNotFoundError, ValueError):
            unknown.append(top)
    if unknown:
        owners = packages_distributions()
        yield from (f"{owner} {version(owner)}" for top in unknown for owner in set(owners.get(top, ())))
