"""A shard on its way into the store: its file can be written and hashed in another thread than that of the store's index."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from superbench.errors import StoreError
from superbench.features.store.index import Index
from superbench.features.store.shard import Written, tensors, written
from superbench.system.files import save_tensors

if TYPE_CHECKING:
    from superbench.features.quantized import Rows


@dataclass(slots=True)
class Addition:
    """A shard that `Store.begin` returned: `values[i]` (rows, layer, dim) belongs to `keys[i]`. `path`: its temporary file.

    `write` may run in any thread; then `Store.commit` adds it to the store, in the thread that opened the store.
    """

    name: str
    path: Path
    keys: Sequence[bytes]
    values: Sequence[Rows]
    _written: Written | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of the values."""
        return sum(value.nbytes for value in self.values)

    @property
    def written(self) -> Written:
        """Size, checksum and stamp of the file that `write` wrote."""
        assert self._written is not None
        return self._written

    def write(self) -> None:
        """Writes and hashes the file; raises `StoreError` when the disk is full or cannot be written."""
        save_tensors(self.path, tensors(self.values), {"superbench": "features"})
        with self._failing("read"):
            self._written = written(self.path)

    def enter(self, index: Index, place: Path) -> None:
        """Moves the file to its place, and writes its rows, inside a transaction of the index; raises `StoreError`."""
        with self._failing(f"moved to {place}"):
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.path, place)
        now, facts = time.time(), self.written
        index.put("shards", [(self.name, facts.bytes, facts.checksum)])
        when = "UPDATE shards SET made = ?, used = ?, checked = ? WHERE name = ?"
        index.write(when, [(now, now, facts.stamp, self.name)])
        index.write("DELETE FROM entries WHERE shard = ?", [(self.name,)])  # entries of the earlier file
        index.put("entries", self._entries(), replacing=False)

    def discard(self, *, last: bool) -> None:
        """Removes the temporary file, if it is still there, and its folder if this was the `last` file in it."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
            if last:
                self.path.parent.rmdir()

    def _entries(self) -> list[tuple[bytes, str, int, int]]:
        """Returns the rows of the index: key, shard, first row, number of rows."""
        entries, start = [], 0
        for key, value in zip(self.keys, self.values, strict=True):
            entries.append((key, self.name, start, len(value)))
            start += len(value)
        return entries

    @contextlib.contextmanager
    def _failing(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"The shard {self.path} could not be {done}: {error.strerror}. Check that the folder is writable."
            ) from error
