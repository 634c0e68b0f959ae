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
BUILT = "__superbench_built__"
"""Attribute of a module of which models were made here: model -> file -> digest, of what was opened meanwhile."""
PASSING = "__superbench_passing__"
"""Attribute of a module that was imported for one model of a person's own file."""
INSTALLED = tuple(
    sorted(
        {os.path.realpath(place) + os.sep for place in [
            *(sysconfig.get_paths()[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")),
            *site.getsitepackages(), os.path.dirname(os.path.dirname(__file__)),
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
    """Files that were opened inside `traced`: for reading, and for writing alone. `passing`: project modules that are imported
    inside serve one model, and are forgotten before the next."""

    read: dict[str, None] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    passing: bool = False

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
        if isinstance(flags, int) and (flags & os.O_WRONLY or (flags & os.O_RDWR and flags & (os.O_TRUNC | os.O_APPEND))):
            trace.written.add(name)
        else:
            trace.read[name] = None


@contextlib.contextmanager
def traced(*, passing: bool = False) -> Iterator[Trace]:
    """Inside, files that are opened are noted. From now on, also after it (models import things when they are called), project
    modules are imported from their source."""
    trace = Trace(passing=passing)
    if not _listening():
        sys.addaudithook(_hear)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    _traces.append(trace)
    try:
        yield trace
    finally:
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
        """Executes the module, and stores the digests of its source and of the files that were opened meanwhile."""
        with traced() as trace:
            super().exec_module(module)
        if any(outer.passing for outer in _traces):
            setattr(module, PASSING, True)
        known = vars(module).get(READ, {})
        setattr(module, READ, known | trace.files() | {os.path.realpath(self.path): digest_of(self.path)})


class _Finder:
    """Finds what the other finders find; project modules get our loader."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Returns the spec that the other finders give, with our loader if it is a project module."""
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
    noted = {name: _noted(name) for name in list(sys.modules)}
    beside = {entry.stem: entry for folder in folders for entry in folder.iterdir() if entry.suffix in ("", ".py")}
    if any(_changed(known) for known in noted.values()):
        forget(name for name in noted if read_of(name) is not None)
    for name, module in list(sys.modules.items()):
        top, file = name.partition(".")[0], getattr(module, "__file__", None)
        if top in beside and file and is_project(file) and not _within(file, beside[top]):
            del sys.modules[name]


def forget(names: Iterable[str]) -> None:
    """The next import of these modules reads them anew; who holds them keeps what they were."""
    for name in list(names):
        sys.modules.pop(name, None)


def forget_passing() -> None:
    """Forget the project modules of earlier models of persons' own files: the next model imports and reads anew what it needs,
    so that what it was made of does not depend on the models before it."""
    forget(name for name in list(sys.modules) if PASSING in getattr(sys.modules[name], "__dict__", {}))


def remember(root: str, model: str, trace: Trace) -> dict[str, str]:
    """Digests of what was opened while `model` was made of the module `root`, now or before: a module that stays may have kept
    what it read for the model that it made first."""
    built = vars(sys.modules[root]).setdefault(BUILT, {})
    built[model] = built.get(model, {}) | trace.files()
    return dict(built[model])


def read_of(name: str) -> dict[str, str] | None:
    """What was noted of a module that was read here: file -> digest; None for any other."""
    return getattr(sys.modules.get(name), "__dict__", {}).get(READ)


def was_read(name: str) -> bool:
    """Was a module read here, and has no file of it changed since?"""
    return read_of(name) is not None and not _changed(_noted(name))


def _noted(name: str) -> dict[str, str]:
    """Every file that was noted with a module."""
    facts = getattr(sys.modules.get(name), "__dict__", {})
    files: dict[str, str] = dict(facts.get(READ) or {})
    for opened in (facts.get(BUILT) or {}).values():
        files |= opened
    return files


def _changed(known: Mapping[str, str]) -> bool:
    return any(not os.path.isfile(file) or digest_of(file) != digest for file, digest in known.items())


def _within(file: str, entry: Path) -> bool:
    own, place = os.path.realpath(file), os.path.realpath(entry)
    return own == place or own.startswith(place + os.sep)
