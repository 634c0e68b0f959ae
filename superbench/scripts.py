"""Models in a person's own file: `path/to/file.py:Name`, read by its path, and found again by it."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from superbench.errors import BrokenPlugin, CommandError, SuperbenchError
from superbench.user import expanded

FILES = "superbench_file_"
"""How modules are called that were read by a path."""


def read(name: str) -> Any:
    """What `path/to/file.py:Name` names; raises `CommandError` where it is not, `BrokenPlugin` for a file that fails."""
    path, _, attribute = name.rpartition(":")
    file = expanded(path)
    if not file.is_file():
        raise CommandError(f"{file} is not there; {name!r} should be path/to/file.py:Class.")
    try:
        home = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]  # two files may have one name
        spec = importlib.util.spec_from_file_location(f"{FILES}{file.stem}_{home}", file)
        assert spec is not None, file
        assert spec.loader is not None, file
        module: ModuleType = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses and the like look their module up
        spec.loader.exec_module(module)
    except SuperbenchError:
        raise
    except Exception as error:
        raise BrokenPlugin(f"{file} could not be imported: {type(error).__name__}: {error}.") from error
    if not hasattr(module, attribute):
        kinds = {n: v for n, v in vars(module).items() if inspect.isclass(v) or inspect.isfunction(v)}
        raise CommandError(f"{file} has no {attribute!r}; its classes and functions are {', '.join(kinds) or 'none'}.")
    return getattr(module, attribute)


def text(upstream: str | Callable) -> str:
    """The spec of a class or function at the top level of a file, for Python callers; a string is one already.

    Raises `CommandError` for what no other process could find again.
    """
    if isinstance(upstream, str):
        return upstream
    name, module = getattr(upstream, "__qualname__", ""), sys.modules.get(getattr(upstream, "__module__", ""))
    file = getattr(module, "__file__", None)
    if not name.isidentifier() or file is None:
        raise CommandError(
            f"{upstream!r} cannot be found again by the processes that do the work. Give a class or a function that stands at "
            "the top level of a file, or its name: 'path/to/file.py:MyModel'."
        )
    return f"{file}:{name}"


def being_read() -> str | None:
    """The file that is being read for its model at this moment, if that is what led here."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__", "").startswith(FILES):
            return str(frame.f_code.co_filename)
    return None
