"""Pins: which processes need which shards. A pin is a row of the index; it is valid while its owner, a process, runs.

An owner has a file in `locks/` that its process keeps locked. The operating system releases the lock when the process ends, so
a lock that can be taken shows that the owner is dead. Owners are created and removed in transactions of the index, by one
process at a time, so no process can see an owner file that is not locked yet.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import weakref
from collections.abc import Iterable
from pathlib import Path

from superbench.errors import StoreError
from superbench.features.store.index import Index
from superbench.system.locks import held, lock


class Pins:
    """The pins of one opened store, with access to the pins of others. `folder` contains the lock files."""

    def __init__(self, folder: Path, index: Index) -> None:
        self._folder, self._index = folder, index
        self._name = ""
        self._unlock: weakref.finalize | None = None

    @property
    def owner(self) -> str:
        """The name of this owner. The first access creates and locks its file."""
        if self._unlock is None:
            with self._index.transaction():
                self.bury()  # else pins would accumulate in a store without eviction
                self._name = f"owner-{os.getpid()}-{secrets.token_hex(8)}"
                file = lock(self._folder / self._name, wait=False)
                assert file is not None  # nobody else knows its name
                self._unlock = weakref.finalize(self, file.close)  # also for a store that nobody closes
        return self._name

    def add(self, shards: Iterable[str]) -> None:
        """Pins `shards` for this owner; they need not exist yet."""
        with self._index.transaction():
            self._index.write("INSERT OR IGNORE INTO pins VALUES (?,?)", [(self.owner, shard) for shard in shards])

    def release(self) -> None:
        """Removes all pins of this owner. Its file is removed first: a full disk may keep the rows, but they are invalid."""
        if self._unlock is not None:
            (self._folder / self._name).unlink(missing_ok=True)
            self._unlock()
            self._unlock = None
            with contextlib.suppress(StoreError):
                self._index.write("DELETE FROM pins WHERE owner = ?", [(self._name,)])

    def alive(self, owner: str) -> bool:
        """Returns True if the process of an owner still runs."""
        return held(self._folder / owner)

    def bury(self) -> None:
        """Removes the pins and lock files of owners whose processes have ended."""
        with self._index.transaction():
            owners = {row[0] for row in self._index.rows("SELECT DISTINCT owner FROM pins")}
            owners |= {path.name for path in self._folder.glob("owner-*")}
            dead = [owner for owner in owners if not self.alive(owner)]
            self._index.write("DELETE FROM pins WHERE owner = ?", [(owner,) for owner in dead])
            for owner in dead:
                (self._folder / owner).unlink(missing_ok=True)

    def pinned(self) -> set[str]:
        """Returns the shards that a running process needs."""
        rows = self._index.rows("SELECT owner, shard FROM pins")
        living = {owner for owner in {row[0] for row in rows} if self.alive(owner)}
        return {shard for owner, shard in rows if owner in living}
