"""The folder for the temporary files of a server. The folders of servers that were killed are removed by the next server."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from superbench.errors import StoreError
from superbench.system.locks import lock

PREFIX = "superbench-board-"
LOCK = "lock"


class ScratchFolder:
    """A new folder, `path`, which this process holds a lock on.

    A lock shows better than a process id that the owner runs: ids are used again, and differ between containers.
    """

    def __init__(self) -> None:
        remove_abandoned(Path(tempfile.gettempdir()))
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._lock = lock(self.path / LOCK, wait=True)
            if self.path.is_dir():  # another server may have removed it before it was locked
                break
        atexit.register(self.remove)

    def remove(self) -> None:
        """Removes the folder and releases the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()


def remove_abandoned(parent: Path) -> None:
    """Removes the folders of this user's servers that have ended without removing them."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, StoreError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid() or not (folder / LOCK).is_file():
                continue
            if held := lock(folder / LOCK, wait=False):
                shutil.rmtree(folder, ignore_errors=True)
                held.close()
