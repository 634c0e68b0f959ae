"""Who needs which shards. A pin is a row of the index; its owner is a process, and counts as long as it lives.

An owner is a file in `locks/` that its process keeps locked; the operating system lets go of the lock however the process
ends, so pins of the dead are recognised by a lock that can be taken. Owners begin and are buried inside transactions of
the index, one process at a time: nobody meets an owner whose file is there and not locked yet.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from superbench.errors import StoreError
from superbench.features.store.index import Index
from superbench.system.locks import held, lock


class Pins:
    """The pins of one opened store, and a look at those of the others. `folder` holds the lock files."""

    def __init__(self, folder: Path, index: Index) -> None:
        self._folder, self._index = folder, index
        self._name = ""
        self._file: IO | None = None

    @property
    def owner(self) -> str:
        """The name of this owner, which from now on is alive."""
        if self._file is None:
            with self._index.transaction():
                self.bury()  # so that pins do not pile up where nothing is ever evicted
                self._name = f"owner-{os.getpid()}-{secrets.token_hex(8)}"
                self._file = lock(self._folder / self._name, wait=False)
        return self._name

    def add(self, shards: Iterable[str]) -> None:
        """This owner needs `shards`, whether they are there yet or not."""
        with self._index.transaction():
            self._index.write("INSERT OR IGNORE INTO pins VALUES (?,?)", [(self.owner, shard) for shard in shards])

    def release(self) -> None:
        """This owner needs nothing any more. Without its file it is dead, so a full disk cannot keep the pins alive."""
        if self._file is not None:
            (self._folder / self._name).unlink(missing_ok=True)
            self._file.close()
            self._file = None
            with contextlib.suppress(StoreError):
                self._index.write("DELETE FROM pins WHERE owner = ?", [(self._name,)])

    def alive(self, owner: str) -> bool:
        """Does the process of an owner still run?"""
        return held(self._folder / owner)

    def bury(self) -> None:
        """Drop the pins and lock files of owners that are no more."""
        with self._index.transaction():
            owners = {row[0] for row in self._index.rows("SELECT DISTINCT owner FROM pins")}
            owners |= {path.name for path in self._folder.glob("owner-*")}
            dead = [owner for owner in owners if not self.alive(owner)]
            self._index.write("DELETE FROM pins WHERE owner = ?", [(owner,) for owner in dead])
            for owner in dead:
                (self._folder / owner).unlink(missing_ok=True)

    def pinned(self) -> set[str]:
        """Shards that some living process needs."""
        found = self._index.rows("SELECT owner, shard FROM pins")
        living = {owner for owner in {row[0] for row in found} if self.alive(owner)}
        return {shard for owner, shard in found if owner in living}
