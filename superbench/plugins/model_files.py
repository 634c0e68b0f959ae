"""Models in a person's own file: `path/to/file.py:Name`, read by its path, and found again by it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from superbench.contract.paths import expanded
from superbench.errors import BrokenPlugin, CommandError, EndedProcess, SuperbenchError
from superbench.plugins.tracing import forget_changed, forget_passing, loader, traced

FILES = "superbench_file_"
"""How modules are called that were read by a path."""


def module_name(name: str) -> str:
    """How the module of `path/to/file.py:Name` is called once it was read: two files may have one name."""
    file = _file(name)
    home = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    package = file.resolve().parent.relative_to(_top(file)).parts
    return ".".join([*package, f"{FILES}{file.stem}_{home}"])


def read(name: str) -> Any:
    """What `path/to/file.py:Name` names; raises `CommandError` where it is not, `BrokenPlugin` for a file that fails.

    As for a script that Python runs, imports find what lies beside the file; in a package, relative imports work too.
    """
    file, attribute = _file(name), name.rpartition(":")[2]
    if not file.is_file():
        raise CommandError(f"{file} is not there; {name!r} should be path/to/file.py:Class.")
    with importing(name), traced(passing=True):
        forget_passing()
        forget_changed(_places(file))
        module = _executed(module_name(name), file)
    if not hasattr(module, attribute):
        kinds = {n: v for n, v in vars(module).items() if inspect.isclass(v) or inspect.isfunction(v)}
        raise CommandError(f"{file} has no {attribute!r}; its classes and functions are {', '.join(kinds) or 'none'}.")
    return getattr(module, attribute)


def _executed(name: str, file: Path) -> ModuleType:
    try:
        spec = importlib.util.spec_from_file_location(name, file, loader=loader(name, file))
        assert spec is not None, file
        assert spec.loader is not None, file
        module: ModuleType = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and the like look their module up
        spec.loader.exec_module(module)
    except (SuperbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a script that calls sys.exit must not end the command as if all were done
        kind = EndedProcess if isinstance(error, SystemExit) else BrokenPlugin
        raise kind(f"{file} could not be imported: {type(error).__name__}: {error}.") from error
    return module


class _Beside(str):
    """An entry of `sys.path` that a model's file brought."""

    __slots__ = ()


@contextlib.contextmanager
def importing(name: str) -> Iterator[None]:
    """Inside, imports are answered first by what lies beside the file of `path/to/file.py:Name`; afterwards, when the model
    runs, last. Any other spec changes nothing."""
    places = [_Beside(place) for place in _places(_file(name))] if ".py:" in name else []
    if not places:
        yield
        return
    before = [entry for entry in sys.path if not isinstance(entry, _Beside)]
    sys.path[:] = [*places, *before]
    try:
        yield
    finally:
        sys.path[:] = [*before, *places]


def _file(name: str) -> Path:
    return expanded(name.rpartition(":")[0])


def _places(file: Path) -> list[Path]:
    """The file's own folder, and that of the outermost package that it belongs to."""
    return list(dict.fromkeys([file.resolve().parent, _top(file)]))


def _top(file: Path) -> Path:
    folder = file.resolve().parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def text(upstream: str | Callable) -> str:
    """The spec of a class or function at the top level of a file, for Python callers; a string is one already.

    Raises `CommandError` for what no other process could find again.
    """
    if isinstance(upstream, str):
        return upstream
    name, module = getattr(upstream, "__qualname__", ""), sys.modules.get(getattr(upstream, "__module__", ""))
    file = getattr(module, "__file__", None)
    if not name.isidentifier() or file is None or vars(module).get(name) is not upstream or hasattr(upstream, "__wrapped__"):
        raise CommandError(
            f"{upstream!r} cannot be found again by the processes that do the work: they read its file, and what was changed "
            "in memory is not in it. Give a class or a function under the name that it has at the top level of its file, or "
            "that name: 'path/to/file.py:MyModel'."
        )
    return f"{file}:{name}"


def being_read() -> str | None:
    """The file that is being read for its model at this moment, if that is what led here."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__", "").rpartition(".")[2].startswith(FILES):
            return str(frame.f_code.co_filename)
    return None
