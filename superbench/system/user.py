"""Who runs this: a person with a home folder and a name, or, in a container, a number that has neither."""

from __future__ import annotations

import contextlib
import getpass
import os
from pathlib import Path

from superbench.contract.paths import is_homeless, makeshift_home
from superbench.errors import CommandError


def settle() -> None:
    """Let libraries import for a user without a name, or without a home folder that can be written: torch and librosa keep
    compiled code in a folder called after the user, and fail for want of it. Theirs lies among temporary files, also in the
    processes that this one starts. Raises `CommandError` where that place is somebody else's."""
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
    """`$XDG_CACHE_HOME` or `~/.cache`; raises `CommandError` for a user who has neither."""
    given = os.environ.get("XDG_CACHE_HOME")
    if not given and is_homeless():
        raise CommandError(
            f"The user with the number {os.getuid()} has no home folder to keep features in. Give --store DIR, or set HOME or "
            "XDG_CACHE_HOME."
        )
    return Path(given) if given else Path.home() / ".cache"


def _makeshift() -> Path:
    """A folder of this user's own among temporary files: compiled code is run, so nobody else may write it."""
    place = makeshift_home()
    with contextlib.suppress(OSError):  # whoever needs it says that it cannot be made
        place.mkdir(mode=0o700, exist_ok=True)
        if place.stat().st_uid != os.getuid():
            raise CommandError(f"{place} belongs to another user. Set HOME to a folder of your own.")
    return place
