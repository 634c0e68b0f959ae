"""Loads models from a user's own Python file, `path/to/file.py:Name`; every process finds them by that path."""

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
from superbench.plugins.tracing import forget_changed, forget_last_model, loader, traced

FILES = "superbench_file_"
"""Prefix of the names of modules that were read by a path."""


def module_name(name: str) -> str:
    """Returns the name in `sys.modules` of the module of `path/to/file.py:Name`. It differs between files of the same name."""
    file = _file(name)
    path_digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    package = file.resolve().parent.relative_to(_top(file)).parts
    return ".".join([*package, f"{FILES}{file.stem}_{path_digest}"])


def read(name: str, *, one_model: bool = True) -> Any:
    """Returns the object that `path/to/file.py:Name` names; raises `CommandError` if it does not exist, `BrokenPlugin` if the
    file cannot be imported. `one_model`: project modules that it imports belong to one model (False: it is a task's file).

    As in a script that Python runs, imports find the files in the same folder; in a package, relative imports work too.
    """
    file, attribute = _file(name), name.rpartition(":")[2]
    if not file.is_file():
        raise CommandError(
            f"{file} does not exist; expected path/to/file.py:{'Class' if one_model else 'TASK'}, found {name!r}."
        )
    with importing(name), traced(one_model=one_model):
        if one_model:
            forget_last_model()
        forget_changed(_folders(file))
        module = _executed(module_name(name), file)
    if not hasattr(module, attribute):
        own = inspect.isclass if one_model else _is_task
        names = [name for name, value in vars(module).items() if own(value) or (one_model and inspect.isfunction(value))]
        kinds = "classes and functions" if one_model else "tasks"
        raise CommandError(f"{file} has no {attribute!r}; its {kinds} are {', '.join(names) or 'none'}.")
    return getattr(module, attribute)


def _is_task(value: Any) -> bool:
    from superbench.contract import Task

    return isinstance(value, Task)


def _executed(name: str, file: Path) -> ModuleType:
    try:
        spec = importlib.util.spec_from_file_location(name, file, loader=loader(name, file))
        assert spec is not None, file
        assert spec.loader is not None, file
        module: ModuleType = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # decorators such as `dataclass` look up the module of a class
        spec.loader.exec_module(module)
    except (SuperbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a script that calls sys.exit must not end the command without an error
        kind = EndedProcess if isinstance(error, SystemExit) else BrokenPlugin
        raise kind(f"{file} could not be imported: {type(error).__name__}: {error}.") from error
    return module


class _ModelFolder(str):
    """An entry of `sys.path` that was added for a model's file."""

    __slots__ = ()


@contextlib.contextmanager
def importing(name: str) -> Iterator[None]:
    """Inside, the folders of the file of `path/to/file.py:Name` are first in `sys.path`; afterwards, when the model runs, they
    are last. Any other spec changes nothing."""
    folders = [_ModelFolder(folder) for folder in _folders(_file(name))] if ".py:" in name else []
    if not folders:
        yield
        return
    others = [entry for entry in sys.path if not isinstance(entry, _ModelFolder)]
    sys.path[:] = [*folders, *others]
    try:
        yield
    finally:
        sys.path[:] = [*others, *folders]


def _file(name: str) -> Path:
    return expanded(name.rpartition(":")[0])


def _folders(file: Path) -> list[Path]:
    """Returns the file's own folder, and the folder that contains the outermost package that the file belongs to."""
    return list(dict.fromkeys([file.resolve().parent, _top(file)]))


def _top(file: Path) -> Path:
    folder = file.resolve().parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def text(upstream: str | Callable) -> str:
    """Returns the spec of a class or function at the top level of a file, for callers in Python; a string is returned as it is.

    Raises `CommandError` for an object that another process could not find.
    """
    if isinstance(upstream, str):
        return upstream
    name, module = getattr(upstream, "__qualname__", ""), sys.modules.get(getattr(upstream, "__module__", ""))
    file = getattr(module, "__file__", None)
    if not name.isidentifier() or file is None or vars(module).get(name) is not upstream or hasattr(upstream, "__wrapped__"):
        raise CommandError(
            f"{upstream!r} cannot be found by the worker processes: they read its file, which does not contain changes made "
            "in memory. Expected a class or a function under its name at the top level of its file, or that name as text: "
            "'path/to/file.py:MyModel'."
        )
    return f"{file}:{name}"


def being_read() -> str | None:
    """Returns the model file that is being imported by one of the callers of this function; None if there is none."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__", "").rpartition(".")[2].startswith(FILES):
            return str(frame.f_code.co_filename)
    return None
