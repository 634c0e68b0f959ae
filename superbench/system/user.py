"""The user of this process. In a container the user may be a number without a name and without a home folder."""

from __future__ import annotations

import contextlib
import getpass
import os
from pathlib import Path

from superbench.contract.paths import is_homeless, makeshift_home
from superbench.errors import CommandError


def settle() -> None:
    """Sets environment variables, so that torch and librosa can be imported without a user name or a writable home folder.

    Both keep compiled code in a folder of the user, and fail without one. Here it becomes a temporary folder, also for child
    processes. Raises `CommandError` if that folder belongs to another user."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(_makeshift() / "torchinductor"))
    try:
        home = Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(_makeshift())
        return
    if not os.access(home, os.W_OK | os.X_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(_makeshift() / "numba"))


def cache_folder() -> Path:
    """Returns `$XDG_CACHE_HOME` or `~/.cache`; raises `CommandError` for a user who has neither."""
    configured = os.environ.get("XDG_CACHE_HOME")
    if not configured and is_homeless():
        raise CommandError(
            f"The user with the number {os.getuid()} has no home folder to keep features in. Give --store DIR, or set HOME or "
            "XDG_CACHE_HOME."
        )
    return Path(configured) if configured else Path.home() / ".cache"


def _makeshift() -> Path:
    """Returns a temporary folder of this user. It holds code that is executed, so no other user may write to it."""
    folder = makeshift_home()
    with contextlib.suppress(OSError):  # the code that uses the folder reports that it cannot be created
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise CommandError(f"{folder} belongs to another user. Set HOME to a folder of your own.")
    return folder
