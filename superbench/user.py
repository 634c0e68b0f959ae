"""Who runs this: a person with a home folder and a name, or, in a container, a number that has neither."""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path

from superbench.errors import CommandError


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME` or `~/.cache`; raises `CommandError` for a user who has neither."""
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(given) if given else Path.home() / ".cache"
    except RuntimeError as error:
        raise CommandError(
            f"The user with the number {os.getuid()} has no home folder to keep features in. Give --store DIR, or set HOME or "
            "XDG_CACHE_HOME."
        ) from error


def expanded(path: str | Path) -> Path:
    """`path` with `~` and `~user` replaced by a home folder; raises `CommandError` where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise CommandError(f"{path}: there is no such home folder. Give the path in full.") from error


def name_for_torch() -> None:
    """Let torch import for a user without a name: it calls a folder of temporary files after the user, and fails for want of
    one. Other processes inherit the folder."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        folder = Path(tempfile.gettempdir(), f"torchinductor_{os.getuid()}")
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
