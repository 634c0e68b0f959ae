"""Records the files that are opened and the project modules that are imported while a model is imported and built.

A *project file* lies outside the standard library, outside the folders of installed packages and outside superbench. Inside
`traced`, an audit hook records every file that this process opens for reading. Project modules are read from their source, not
from a bytecode cache, so that the code that is hashed is the code that runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

READ = "__superbench_read__"
"""Attribute of a module that our loader read: file -> digest, for its source and the files opened while it was executed."""
BUILT = "__superbench_built__"
"""Attribute of a module that defines models: model -> file -> digest, for the files opened while the model was built."""
ONE_MODEL = "__superbench_one_model__"
"""Attribute of a module that was imported for a single model, from a user's file."""
INSTALLED = tuple(
    sorted(
        {os.path.realpath(folder) + os.sep for folder in [
            *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
            *site.getsitepackages(), os.path.dirname(os.path.dirname(__file__)),
        ]}
    )
)  # fmt: skip
"""Folders of the standard library, of installed packages and of superbench itself."""
SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/", "/run/", "/lib/", "/lib64/", "/usr/lib/", "/usr/share/", "/usr/local/lib/")
BYTECODE = (".pyc", ".pyo")


def digest_of(path: str | Path) -> str:
    """Returns the digest of a file's bytes, without recording that the file is opened."""
    active, _traces[:] = _traces[:], []
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    finally:
        _traces[:] = active


# ---------------------------------------------------------------- files that are opened


@dataclass(slots=True, eq=False)
class Trace:
    """Files that were opened inside `traced`: those `read`, and those `written` from their beginning. `one_model`: project
    modules that are imported inside belong to one model, and are removed from `sys.modules` before the next."""

    read: dict[str, None] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    one_model: bool = False

    def files(self) -> dict[str, str]:
        """Returns the digest of each project or user file that was opened for reading only and still exists."""
        paths = (os.path.realpath(name) for name in self.read if name not in self.written)
        own = dict.fromkeys(path for path in paths if os.path.isfile(path) and not _foreign(path))
        return {path: digest_of(path) for path in own}


_traces: list[Trace] = []
"""Traces that are active. Python cannot remove an audit hook: it is added once, and does nothing while this list is empty."""


def _record(event: str, arguments: tuple[Any, ...]) -> None:
    if not _traces or event not in ("open", "sqlite3.connect", "ctypes.dlopen"):
        return
    path, flags = arguments[0], arguments[2] if event == "open" else 0
    if not isinstance(path, (str, bytes, os.PathLike)) or not path:
        return
    name = os.path.abspath(os.fsdecode(path))
    for trace in _traces:
        if isinstance(flags, int) and (flags & os.O_WRONLY or (flags & os.O_RDWR and flags & (os.O_TRUNC | os.O_APPEND))):
            trace.written.add(name)
        else:
            trace.read[name] = None


@contextlib.contextmanager
def traced(*, one_model: bool = False) -> Iterator[Trace]:
    """Inside, records the files that are opened. Inside and afterwards, project modules are imported from their source, because
    models may import modules when they are called."""
    trace = Trace(one_model=one_model)
    if not _hook_exists():
        sys.addaudithook(_record)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    _traces.append(trace)
    try:
        yield trace
    finally:
        _traces.remove(trace)


def _hook_exists() -> bool:
    """Returns whether the hook was added already; raises an audit event to find out."""
    probe = Trace()
    _traces.append(probe)
    try:
        sys.audit("open", "/probe", "r", os.O_RDONLY)
    finally:
        _traces.remove(probe)
    return bool(probe.read)


def is_project(path: str) -> bool:
    """Returns whether a file belongs to a user's project, and not to Python, an installed package or superbench."""
    name = os.path.realpath(path)
    return not name.startswith(INSTALLED) and not {"site-packages", "dist-packages"} & set(Path(name).parts)


def _foreign(name: str) -> bool:
    """Returns whether a file is not part of a model: system files, packages, bytecode, and files in the user's cache or in
    hidden folders of the home folder."""
    home = os.path.realpath(os.path.expanduser("~")) + os.sep
    cache = os.path.realpath(os.environ.get("XDG_CACHE_HOME") or home + ".cache") + os.sep
    metadata = Path(name).parent.suffix in (".dist-info", ".egg-info")
    return name.endswith(BYTECODE) or metadata or not is_project(name) or name.startswith((*SYSTEM, cache, home + "."))


# ---------------------------------------------------------------- modules that are imported


class _Loader(SourceFileLoader):
    """Reads a project module from its source, and records the files that are opened while it is executed."""

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        """Executes the module, and stores the digests of its source and of the files that were opened while it ran."""
        with traced() as trace:
            super().exec_module(module)
        if any(outer.one_model for outer in _traces):
            setattr(module, ONE_MODEL, True)
        recorded = vars(module).get(READ, {})
        setattr(module, READ, recorded | trace.files() | {os.path.realpath(self.path): digest_of(self.path)})


class _Finder:
    """Finds the modules that the other finders find, and gives project modules our loader."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Returns the spec of the first other finder that has one, with our loader for a project module."""
        for finder in sys.meta_path:
            spec = None if isinstance(finder, _Finder) else finder.find_spec(name, path, target)
            if spec is not None:
                if type(spec.loader) is SourceFileLoader and spec.origin and is_project(spec.origin):
                    spec.loader = _Loader(spec.loader.name, spec.loader.path)
                return spec
        return None


def loader(name: str, file: Path) -> SourceFileLoader:
    """Returns the loader for a project file that is read by its path."""
    return _Loader(name, str(file))


def forget_changed(folders: Iterable[Path] = ()) -> None:
    """Removes from `sys.modules` all modules that our loader read if any of their files has changed, and each project module of
    whose name `folders`, which will be searched first, contain another module."""
    recorded = {name: _recorded(name) for name in list(sys.modules)}
    entries = {entry.stem: entry for folder in folders for entry in folder.iterdir() if entry.suffix in ("", ".py")}
    if any(_changed(digests) for digests in recorded.values()):
        forget(name for name in recorded if read_of(name) is not None)
    for name, module in list(sys.modules.items()):
        top, file = name.partition(".")[0], getattr(module, "__dict__", {}).get("__file__")  # imports no lazy module
        if top in entries and file and is_project(file) and not _within(file, entries[top]):
            del sys.modules[name]


def forget(names: Iterable[str]) -> None:
    """Removes these modules from `sys.modules`: the next import reads their files again. Other references stay valid."""
    for name in list(names):
        sys.modules.pop(name, None)


def forget_last_model() -> None:
    """Removes from `sys.modules` the project modules of earlier models from users' files. The next model imports them again, so
    that its sources do not depend on earlier models."""
    forget(name for name in list(sys.modules) if ONE_MODEL in getattr(sys.modules[name], "__dict__", {}))


def remember(root: str, model: str, trace: Trace) -> dict[str, str]:
    """Adds the files of `trace` to those recorded for `model` of the module `root`; returns the digests of all of them. The
    module may keep in memory what it read when it built the model for the first time."""
    built = vars(sys.modules[root]).setdefault(BUILT, {})
    built[model] = built.get(model, {}) | trace.files()
    return dict(built[model])


def read_of(name: str) -> dict[str, str] | None:
    """Returns the files of a module that our loader read, as file -> digest; None for any other module."""
    return getattr(sys.modules.get(name), "__dict__", {}).get(READ)


def was_read(name: str) -> bool:
    """Returns whether a module was read here, and none of its files has changed since."""
    return read_of(name) is not None and not _changed(_recorded(name))


def _recorded(name: str) -> dict[str, str]:
    """Returns all files that were recorded for a module and its models, as file -> digest."""
    attributes = getattr(sys.modules.get(name), "__dict__", {})
    files: dict[str, str] = dict(attributes.get(READ) or {})
    for opened in (attributes.get(BUILT) or {}).values():
        files |= opened
    return files


def _changed(digests: Mapping[str, str]) -> bool:
    return any(not os.path.isfile(file) or digest_of(file) != digest for file, digest in digests.items())


def _within(file: str, entry: Path) -> bool:
    path, folder = os.path.realpath(file), os.path.realpath(entry)
    return path == folder or path.startswith(folder + os.sep)
