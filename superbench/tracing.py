"""What happens while a model is imported and built: the files that are opened, the project modules that are read.

A *project file* lies outside the standard library, outside the folders of installed packages and outside superbench. Inside
`traced`, an audit hook notes every file that this process opens for reading, and project modules are read from their source,
past any bytecode cache, so that what is hashed is what runs.
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
"""Attribute of a module that was read here: file -> digest, of its source and of what was opened while it was executed."""
INSTALLED = tuple(
    sorted(
        {os.path.realpath(place) + os.sep for place in [
            *(sysconfig.get_paths()[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")),
            *site.getsitepackages(), os.path.dirname(__file__),
        ]}
    )
)  # fmt: skip
"""Folders of the standard library, of installed packages and of superbench itself."""
SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/", "/run/", "/lib/", "/lib64/", "/usr/lib/", "/usr/share/", "/usr/local/lib/")
BYTECODE = (".pyc", ".pyo")


def digest_of(path: str | Path) -> str:
    """Digest of a file's bytes. That it is opened for this is not noted."""
    writing, _traces[:] = _traces[:], []
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    finally:
        _traces[:] = writing


# ---------------------------------------------------------------- files that are opened


@dataclass(slots=True, eq=False)
class Trace:
    """Files that were opened inside `traced`: for reading, and for writing."""

    read: dict[str, None] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)

    def files(self) -> dict[str, str]:
        """Digest of each file that was opened for reading alone, is still there, and is the project's or a person's own."""
        names = (os.path.realpath(name) for name in self.read if name not in self.written)
        kept = dict.fromkeys(name for name in names if os.path.isfile(name) and not _foreign(name))
        return {name: digest_of(name) for name in kept}


_traces: list[Trace] = []
"""Those that are being written. An audit hook can never be removed, so it is added once, and idle while nothing is here."""


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _traces or event not in ("open", "sqlite3.connect", "ctypes.dlopen"):
        return
    path, flags = arguments[0], arguments[2] if event == "open" else 0
    if not isinstance(path, (str, bytes, os.PathLike)) or not path:
        return
    name = os.path.abspath(os.fsdecode(path))
    for trace in _traces:
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
            trace.written.add(name)
        else:
            trace.read[name] = None


@contextlib.contextmanager
def traced() -> Iterator[Trace]:
    """Inside, files that are opened are noted, and project modules are imported from their source."""
    finder, trace = _Finder(), Trace()
    if not _listening():
        sys.addaudithook(_hear)
    _traces.append(trace)
    sys.meta_path.insert(0, finder)
    try:
        yield trace
    finally:
        sys.meta_path.remove(finder)
        _traces.remove(trace)


def _listening() -> bool:
    """Was the hook added already? It is asked."""
    probe = Trace()
    _traces.append(probe)
    try:
        sys.audit("open", "/probe", "r", os.O_RDONLY)
    finally:
        _traces.remove(probe)
    return bool(probe.read)


def is_project(path: str) -> bool:
    """Does a file belong to a person's project, rather than to Python, to an installed package or to superbench?"""
    name = os.path.realpath(path)
    return not name.startswith(INSTALLED) and not {"site-packages", "dist-packages"} & set(Path(name).parts)


def _foreign(name: str) -> bool:
    """Files that say nothing of a model: of the system, of packages, bytecode, and what programs keep in the user's cache and
    in hidden folders of the home folder."""
    home = os.path.realpath(os.path.expanduser("~")) + os.sep
    cache = os.path.realpath(os.environ.get("XDG_CACHE_HOME") or home + ".cache") + os.sep
    facts = Path(name).parent.suffix in (".dist-info", ".egg-info")
    return name.endswith(BYTECODE) or facts or not is_project(name) or name.startswith((*SYSTEM, cache, home + "."))


# ---------------------------------------------------------------- modules that are imported


class _Loader(SourceFileLoader):
    """Reads a project module from its source, and notes what is opened while it is executed."""

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        with traced() as trace:
            super().exec_module(module)
        known = vars(module).get(READ, {})
        setattr(module, READ, known | trace.files() | {os.path.realpath(self.path): digest_of(self.path)})


class _Finder:
    """Finds what the other finders find; project modules get our loader."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        for finder in sys.meta_path:
            found = None if isinstance(finder, _Finder) else finder.find_spec(name, path, target)
            if found is not None:
                if type(found.loader) is SourceFileLoader and found.origin and is_project(found.origin):
                    found.loader = _Loader(found.loader.name, found.loader.path)
                return found
        return None


def loader(name: str, file: Path) -> SourceFileLoader:
    """The loader of a project file that is read by its path."""
    return _Loader(name, str(file))


def forget_changed(folders: Iterable[Path] = ()) -> None:
    """Forget project modules that were read here if a file of theirs has changed since, or if `folders`, from which imports
    will be answered first, hold another module of that name."""
    ours = [name for name in sys.modules if read_of(name) is not None]
    beside = {entry.stem: entry for folder in folders for entry in folder.iterdir() if entry.suffix in ("", ".py")}
    if any(_changed(read_of(name) or {}) for name in ours):
        for name in ours:
            del sys.modules[name]
    for name, module in list(sys.modules.items()):
        top, file = name.partition(".")[0], getattr(module, "__file__", None)
        if top in beside and file and is_project(file) and not _within(file, beside[top]):
            del sys.modules[name]


def remember(root: str, trace: Trace) -> None:
    """Note with the module `root` what was opened while a model was made of it: a module may keep it for the next model."""
    setattr(sys.modules[root], READ, (read_of(root) or {}) | trace.files())


def read_of(name: str) -> dict[str, str] | None:
    """What was noted of a module that was read here: file -> digest; None for any other."""
    return getattr(sys.modules.get(name), "__dict__", {}).get(READ)


def _changed(known: Mapping[str, str]) -> bool:
    return any(not os.path.isfile(file) or digest_of(file) != digest for file, digest in known.items())


def _within(file: str, entry: Path) -> bool:
    own, place = os.path.realpath(file), os.path.realpath(entry)
    return own == place or own.startswith(place + os.sep)
