"""Paths that the user enters: `~` is replaced by the home folder, if the user has one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from superbench.errors import CommandError


def expanded(path: str | Path) -> Path:
    """Returns `path` with `~` or `~user` replaced by the home folder; raises `CommandError` if there is none."""
    is_own_home = str(path).partition("/")[0] == "~"
    try:
        if is_own_home and is_homeless():
            raise RuntimeError
        return Path(path).expanduser()
    except RuntimeError as error:
        raise CommandError(f"{path}: there is no such home folder. Give the path in full.") from error


def is_homeless() -> bool:
    """Returns True if this user has no home folder, or only the temporary substitute."""
    try:
        return Path.home() == makeshift_home()
    except RuntimeError:
        return True


def makeshift_home() -> Path:
    """Returns the temporary folder that replaces a missing home folder."""
    return Path(tempfile.gettempdir(), f"superbench-{os.getuid()}")
