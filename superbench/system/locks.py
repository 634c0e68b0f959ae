"""Locks, by which all processes of superbench are synchronized.

A lock is a file that a process has locked with `flock`. The operating system releases it when the process ends, even when it is
killed. Some file systems have no such locks (NFS mounted with `nolock`, Lustre without `-o flock`, some FUSE): there, leases
take their place (see `leases`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from superbench.errors import StoreError
from superbench.system.files import require_folder
from superbench.system.leases import Lease, is_marked, lease, leased, mark

WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
"""Error numbers of `flock` on a file system that has no locks."""


def lock(path: Path, *, wait: bool) -> IO | Lease | None:
    """Locks `path` until the returned value is closed. Without `wait`, returns None if another process holds the lock.

    Raises `StoreError` if the file cannot be created.
    """
    try:
        if is_marked(path.parent):
            return lease(path, wait=wait)
        return _flock(path, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in WITHOUT_LOCKS:
            mark(path.parent)
            return lock(path, wait=wait)
        raise StoreError(
            f"The lock file {path} cannot be created: {error.strerror}. Make the folder writable, or choose another one."
        ) from error


def _flock(path: Path, operation: int) -> IO | None:
    """Locks `path` with `flock`; returns None if another process holds the lock."""
    file = path.open("w")
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        file.close()
        return None
    except BaseException:
        file.close()
        raise
    return file


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Yields True if this process holds the lock `path`; without `wait`, False if another process holds it."""
    file = lock(path, wait=wait)
    with file or contextlib.nullcontext():
        yield file is not None


@contextlib.contextmanager
def locked_where_possible(path: Path) -> Iterator[None]:
    """Waits for the lock `path` and holds it inside; in a folder that cannot be written, nothing is locked."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, StoreError):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(path, wait=True))
        yield


def held(path: Path) -> bool:
    """Returns True if a process holds the lock `path`; False if there is no such file."""
    if is_marked(path.parent):
        return leased(path)
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno in WITHOUT_LOCKS:
            mark(path.parent)
            return leased(path)
        raise StoreError(f"The lock file {path} cannot be read: {error.strerror}.") from error
    return False


def uses_leases(folder: Path) -> bool:
    """Returns whether leases take the place of locks in `folder`, which must exist; tries a lock, and marks the folder."""
    with tempfile.TemporaryDirectory(prefix=".lock.", dir=folder) as temporary, locked(Path(temporary) / "lock", wait=False):
        if not is_marked(Path(temporary)):
            return False
    mark(folder)
    return True


def require_locks(folder: Path, option: str) -> bool:
    """Creates `folder`, and checks before any work that it is writable; returns whether leases take the place of locks there.

    `option` is the option and its value, such as `--out results`. Raises `CommandError`.
    """
    require_folder(folder, option)
    return uses_leases(folder)
