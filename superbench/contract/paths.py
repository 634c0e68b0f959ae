"""Paths that a person gives: `~` is their home folder, where they have one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from superbench.errors import CommandError


def expanded(path: str | Path) -> Path:
    """`path` with `~` and `~user` replaced by a home folder; raises `CommandError` where there is none."""
    own = str(path).partition("/")[0] == "~"
    try:
        if own and is_homeless():
            raise RuntimeError
        return Path(path).expanduser()
    except RuntimeError as error:
        raise CommandError(f"{path}: there is no such home folder. Give the path in full.") from error


def is_homeless() -> bool:
    """Whether this user has no home folder but the makeshift one."""
    try:
        return Path.home() == makeshift_home()
    except RuntimeError:
        return True


def makeshift_home() -> Path:
    """The folder among temporary files that stands in for a home folder."""
    return Path(tempfile.gettempdir(), f"superbench-{os.getuid()}")
