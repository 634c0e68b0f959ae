"""Reads a checkpoint of torch without running anything that its pickle names: every class becomes a placeholder without code.

Configurations in files of fairseq are objects of fairseq, omegaconf and argparse. Their attributes say what is needed; none of
these packages is imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from superbench import BadCheckpoint

MOST_CLASSES = 200
"""The most different classes in a file."""
MOST_DEPTH = 40
_BLOCKED = re.compile(r"GLOBAL (\S+) whose module \S+ is blocked")
_UNKNOWN = re.compile(r"GLOBAL (\S+) was not an allowed global")


class Placeholder:
    """Stands for an object of any class: the arguments of its constructor, and its state."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = {}

    def __new__(cls, *arguments: Any) -> Placeholder:
        """Makes an object whose `__init__` the pickle may leave out."""
        made = super().__new__(cls)
        made.arguments, made.state = arguments, {}
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read_plain(path: Path) -> Any:
    """Returns the content of a checkpoint: tensors, numbers, texts, lists and dictionaries as they are, other objects as
    `Placeholder`. Raises `BadCheckpoint` for a file that cannot be read, or that names a module of the operating system."""
    names: list[str] = []
    while len(names) <= MOST_CLASSES:
        try:
            with torch.serialization.safe_globals([(Placeholder, name) for name in names]):
                return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            unknown = _UNKNOWN.search(str(error))
            if unknown is None:
                raise _unreadable(path, error) from error
            name = unknown[1] if "." in unknown[1] else f"builtins.{unknown[1]}"
            if name in names:
                raise _unreadable(path, error) from error
            names.append(name)
        except (OSError, ValueError, TypeError, RuntimeError, EOFError, LookupError, AttributeError) as error:
            raise _unreadable(path, error) from error
    raise BadCheckpoint(f"{path} names more than {MOST_CLASSES} classes; expected a checkpoint of weights.")


def _unreadable(path: Path, error: Exception) -> BadCheckpoint:
    if blocked := _BLOCKED.search(str(error)):
        return BadCheckpoint(f"{path} names {blocked[1]}, a function of the operating system: it is no checkpoint. Delete it.")
    reason = " ".join(str(error).split())[:200]
    return BadCheckpoint(f"{path} cannot be read as a checkpoint of torch ({type(error).__name__}: {reason}). Fetch it again.")


def plain(value: Any, depth: int = 0) -> Any:
    """Returns numbers, texts, lists and dictionaries in place of placeholders: the attributes of a `Namespace`, the content of
    a dictionary of omegaconf, the value of an enumeration.

    >>> node = Placeholder(); node.__setstate__({"_content": {"layers": 2}})
    >>> plain({"model": node})
    {'model': {'layers': 2}}
    """
    if depth > MOST_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {str(plain(key, depth + 1)): plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, depth + 1) for inner in value]
    if not isinstance(value, Placeholder):
        return value
    state = value.state if isinstance(value.state, Mapping) else {}
    for name in ("_content", "_val"):  # a container, and a value, of omegaconf
        if name in state:
            return plain(state[name], depth + 1)
    if value.arguments and not state:
        return plain(value.arguments[0], depth + 1)
    return plain(state, depth + 1)
