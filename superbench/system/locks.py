"""File locks: the one way in which processes keep out of each other's way.

A lock is a file that its process has locked with `flock`; the operating system releases it however the process ends. Some
file systems have no such locks (NFS mounted with `nolock`, Lustre without `-o flock`, some FUSE): they are refused.
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
    """Lock `path` until the file returned is closed; without `wait`, None if another process holds it.

    Raises `StoreError` where the file cannot be made, or its file system has no locks.
    """
    try:
        file = path.open("w")
    except OSError as error:
        raise StoreError(
            f"The lock {path} cannot be made: {error.strerror}. Make the folder writable, or choose another one."
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
    """True inside if this process alone holds the lock `path`; without `wait`, False if another one does."""
    file = lock(path, wait=wait)
    with file or contextlib.nullcontext():
        yield file is not None


def held(path: Path) -> bool:
    """Does a process hold the lock `path`? False where there is no such file."""
    try:
        with path.open() as file:
            return not _locked(file, path, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False


def require_locks(folder: Path, asked: str) -> None:
    """See before any work that `folder`, which is made, can be written and has locks.

    `asked` is how the folder was named, as in `--out results`. Raises `CommandError`.
    """
    require_folder(folder, asked)
    with tempfile.NamedTemporaryFile(prefix=".lock.", dir=folder) as file:
        try:
            _locked(file, Path(file.name), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except StoreError as error:
            raise CommandError(f"{asked}: {error}") from error


def _locked(file: Any, path: Path, how: int) -> bool:
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreError(_without(path.parent, error)) from error
    return True


def _without(folder: Path, error: OSError) -> str:
    return (
        f"The file system of {folder.absolute()} has no file locks ({error.strerror}), so two processes could write there "
        "at once. Choose a folder on another disk, such as one of this machine."
    )
