"""Lease files: locks for file systems that have no file locks.

A lease is a file that exactly one process creates (`O_EXCL` is atomic also on NFS), and whose modification time it renews while
it lives. A lease that was not renewed for `EXPIRY` seconds has ended: its process or its machine died. Ages are compared by the
clock of the file system, so that clocks of machines may differ. A folder whose file system was found to have no locks contains
a mark, so that every process uses leases there.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

RENEWAL, EXPIRY, POLL = 3.0, 30.0, 0.05
"""Seconds between renewals of a lease; after which it has ended; between two attempts to obtain it."""
MARK, DEPTH = ".leases", 6
"""Name of the file that marks a folder whose file system has no locks, and so many levels below it."""


class Lease:
    """A lease that this process holds until `close`. A background thread renews it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _RENEWER.add(self)

    def close(self) -> None:
        """Ends the lease."""
        _RENEWER.remove(self)
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Renewer:
    """A thread that renews all leases of this process."""

    def __init__(self) -> None:
        self._held: weakref.WeakSet[Lease] = weakref.WeakSet()
        self._guard, self._thread = threading.Lock(), 0

    def add(self, lease: Lease) -> None:
        """Renews a lease from now on; starts the thread in this process if there is none (a fork loses it)."""
        with self._guard:
            self._held.add(lease)
            if self._thread != os.getpid():
                self._thread = os.getpid()
                threading.Thread(target=self._renew, daemon=True).start()

    def remove(self, lease: Lease) -> None:
        """Renews a lease no more."""
        with self._guard:
            self._held.discard(lease)

    def _renew(self) -> None:
        while True:
            time.sleep(RENEWAL)
            with self._guard:
                for lease in list(self._held):
                    with contextlib.suppress(OSError):
                        os.utime(lease.path)


_RENEWER = _Renewer()


def lease(path: Path, *, wait: bool) -> Lease | None:
    """Obtains the lease of `path`; without `wait`, returns None if another process has it. Raises `OSError`."""
    file = _file(path)
    while True:
        try:
            with file.open("x") as new:
                new.write(f"{_processes()} {os.getpid()} {secrets.token_hex(8)}")
            return Lease(file)
        except FileExistsError:
            if _remove_ended(file):
                continue
        if not wait:
            return None
        time.sleep(POLL)


def leased(path: Path) -> bool:
    """Returns whether a process has the lease of `path`."""
    return not _ended(_file(path))


def is_marked(folder: Path) -> bool:
    """Returns whether leases are used in the folder, because its file system, or that of a folder above, has no locks."""
    return any((marked / MARK).exists() for marked in [folder, *folder.parents][:DEPTH])


def mark(folder: Path) -> None:
    """Makes every process use leases in the folder."""
    (folder / MARK).touch()


def _file(path: Path) -> Path:
    return path.with_name(f".lease-{path.name}")


def _processes() -> str:
    """Returns a name for the processes that this one can see: those of this machine, or of this container."""
    with contextlib.suppress(OSError):
        return f"{platform.node()}/{os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def _ended(file: Path) -> bool:
    """Returns whether there is no lease, or its process has ended: that is seen for processes of this machine; another one has
    not renewed its lease for `EXPIRY` seconds of the file system's clock."""
    try:
        renewed, text = file.stat().st_mtime, file.read_text()
    except FileNotFoundError:
        return True
    place, _, rest = text.partition(" ")
    process = rest.partition(" ")[0]
    if place == _processes() and process.isdecimal():
        return not _is_alive(int(process))
    with tempfile.NamedTemporaryFile(prefix=".lease-now-", dir=file.parent) as now:
        return os.fstat(now.fileno()).st_mtime - renewed > EXPIRY


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return True


def _remove_ended(file: Path) -> bool:
    """Removes a lease that has ended; returns whether it was removed. One process at a time does this."""
    if not _ended(file):
        return False
    with _alone(file.with_name(f"{file.name}-removal")) as is_alone:
        if is_alone and _ended(file):
            file.unlink(missing_ok=True)
            return True
    return False


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[bool]:
    """Yields whether this process alone created `file`, which exists during the block. An old one is removed for the next
    attempt."""
    try:
        with file.open("x") as new:
            new.write(f"{_processes()} {os.getpid()}")
    except FileExistsError:
        if _ended(file):
            file.unlink(missing_ok=True)
        yield False
        return
    try:
        yield True
    finally:
        file.unlink(missing_ok=True)
