"""File locks, by which all processes of superbench are synchronized.

A lock is a file that a process has locked with `flock`. The operating system releases it when the process ends, even when it is
killed. Some file systems have no such locks (NFS mounted with `nolock`, Lustre without `-o flock`, some FUSE): they cause an
error.
"""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from superbench.errors import CommandError, StoreError
from superbench.system.files import require_folder


def lock(path: Path, *, wait: bool) -> IO | None:
    """Locks `path` until the returned file is closed. Without `wait`, returns None if another process holds the lock.

    Raises `StoreError` if the file cannot be created, or its file system has no locks.
    """
    try:
        file = path.open("w")
    except OSError as error:
        raise StoreError(
            f"The lock file {path} cannot be created: {error.strerror}. Make the folder writable, or choose another one."
        ) from error
    try:
        if _locked(file, path, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)):
            return file
    except BaseException:
        file.close()
        raise
    file.close()
    return None


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Yields True if this process holds the lock `path`; without `wait`, False if another process holds it."""
    file = lock(path, wait=wait)
    with file or contextlib.nullcontext():
        yield file is not None


def held(path: Path) -> bool:
    """Returns True if a process holds the lock `path`; False if there is no such file."""
    try:
        with path.open() as file:
            return not _locked(file, path, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False


def require_locks(folder: Path, option: str) -> None:
    """Creates `folder`, and checks before any work that it is writable and has locks.

    `option` is the option and its value, such as `--out results`. Raises `CommandError`.
    """
    require_folder(folder, option)
    with tempfile.NamedTemporaryFile(prefix=".lock.", dir=folder) as file:
        try:
            _locked(file, Path(file.name), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except StoreError as error:
            raise CommandError(f"{option}: {error}") from error


def _locked(file: Any, path: Path, operation: int) -> bool:
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreError(_without_locks(path.parent, error)) from error
    return True


def _without_locks(folder: Path, error: OSError) -> str:
    return (
        f"The file system of {folder.absolute()} has no file locks ({error.strerror}), so two processes could write there "
        "at once. Choose a folder on another disk, such as a local one."
    )
