"""The feature store: features of a frozen model for segments of sound, under keys that depend only on content.

On disk: `index.sqlite` (the shard and rows of each key; digests of sound files; pins), `shards/<xx>/<digest>.safetensors`,
`writing/` for shards that are being written, `locks/`. A shard is written completely; then one transaction renames the file and
adds its row. After a crash there may be a file without a row, but never a partial entry that looks complete. Several processes
may read and write at once.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from superbench.errors import DamagedFile, StoreError
from superbench.features.attempts import ATTEMPTS, Attempts
from superbench.features.store.addition import Addition
from superbench.features.store.eviction import Holding, Removal, drop, evict, staging, sweep
from superbench.features.store.index import SEALED, Index, is_index, mark, set_aside
from superbench.features.store.pins import Pins
from superbench.features.store.shard import Damaged, Written, format_of, opened, place, proved
from superbench.features.store.sounds import Sound, known_sounds
from superbench.features.store.verification import ShardState, remember, verify
from superbench.system.cores import cores
from superbench.system.locks import held, locked, uses_leases
from superbench.system.progress import Reporter, Silence
from superbench.system.user import cache_folder

if TYPE_CHECKING:
    from superbench.features.quantized import Rows


@dataclass(frozen=True, slots=True)
class Entry:
    """Location of a key's features: rows `start` to `start + rows` of a shard."""

    shard: str
    start: int
    rows: int


def default_root() -> Path:
    """Returns the user's cache folder for features: `$XDG_CACHE_HOME/superbench` or `~/.cache/superbench`."""
    return cache_folder() / "superbench"


class Store:
    """Features by key. Each process opens its own `Store`. `root` is created if it does not exist.

    With a `budget` (bytes of shards), the least recently used shards are evicted for new ones, except shards that a running
    process has pinned with `use`: the store exceeds its budget rather than fail. `run`: name of the run. `readers`: threads
    that read sound files (by default as many as cores).
    """

    def __init__(self, root: Path, budget: int | None = None, run: str = "", readers: int | None = None) -> None:
        self.root, self.budget, self.readers = root, budget, readers or cores()
        self.attempts = Attempts(root / ATTEMPTS, run)
        self._open: dict[str, Rows] = {}
        self._additions: set[str] = set()
        self._renewed = False
        try:
            (root / "locks").mkdir(parents=True, exist_ok=True)
            self._leases = uses_leases(root)
            with locked(root / "locks" / "index", wait=True):
                self._index = self._opened_index()
        except OSError as error:
            raise StoreError(
                f"The feature store {root} cannot be opened: {error}. Give another folder with --store."
            ) from error
        self._pins = Pins(root / "locks", self._index)

    def _opened_index(self) -> Index:
        """Returns the index. A damaged index is replaced by a new one, unless a process uses it."""
        path = self.root / "index.sqlite"
        used = any(held(owner) for owner in (self.root / "locks").glob("owner-*"))
        if mark(path).exists() and is_index(path) and not used:
            set_aside(path)
            self._renewed = True
        try:
            return Index(path, leases=self._leases)
        except DamagedFile:
            if self._renewed or used or not is_index(path):
                raise
            return self._opened_index()

    def close(self) -> None:
        """Closes the store and removes its pins, so that its shards may be evicted."""
        self.release()
        self._open.clear()
        self._index.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sounds(self, paths: Sequence[Path]) -> list[Sound]:
        """Returns digests and lengths of sound files; a file is read only if it is new or has changed."""
        return known_sounds(self._index, paths, readers=self.readers)

    # -------------------------------------------------------- features

    def room(self) -> int:
        """Returns the bytes that all features may take: the budget, or their size plus nine tenths of the free space."""
        if self.budget is not None:
            return self.budget
        ((stored,),) = self._index.rows("SELECT coalesce(sum(bytes), 0) FROM shards")
        return int(stored + 0.9 * shutil.disk_usage(self.root).free)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Returns the entries of those keys that are stored."""
        return {key: Entry(*row) for key, row in self._index.known("entries", sorted(keys)).items()}

    def remarks(self) -> list[str]:
        """Returns messages about damage of the index since the last call, and about the repair."""
        renewed, self._renewed = self._renewed, False
        rows, self._index.dropped = self._index.dropped, 0
        new_index = "the index of the feature store was damaged; a new one is created, and features are computed again"
        lost_rows = f"{rows} rows of the feature store's index were damaged; their sound is read or computed again"
        return [new_index] * renewed + [lost_rows] * bool(rows)

    def use(self, shards: Iterable[str]) -> set[str]:
        """Pins shards until `release` or the end of this process; returns those that exist and are undamaged.

        Shards may be pinned before they are made. A shard whose file changed since it was written is hashed; a damaged shard is
        dropped, so that the caller computes it again. A shard may be evicted between `find` and `use`, so rely on the value
        that `use` returns.
        """
        names = sorted(set(shards))
        with self._index.transaction():
            self._pins.add(names)
            self._index.write("UPDATE shards SET used = ? WHERE name = ?", [(time.time(), name) for name in names])
        return {name for name in names if self._is_intact(name)}

    def release(self) -> None:
        """Removes the pins of this store, for example between two jobs of a process."""
        self._pins.release()

    def add(self, name: str, keys: Sequence[bytes], values: Sequence[Rows]) -> None:
        """Writes a shard: `values[i]` (rows, layer, dim) belongs to `keys[i]`. Entries that are already stored stay.

        With a budget, older shards are evicted first. Raises `StoreError` when the disk is full or cannot be written.
        """
        addition = self.begin(name, keys, values)
        try:
            addition.write()
            self.commit(addition)
        finally:
            self.end(addition)

    def begin(self, name: str, keys: Sequence[bytes], values: Sequence[Rows]) -> Addition:
        """Returns a shard as `add` takes it, whose file is still to be written; with a budget, evicts older shards first.

        Afterwards call its `write` (in any thread), `commit`, and in any case `end`.
        """
        addition = Addition(name, staging(self.root, self._pins.owner) / name, keys, values)
        self._additions.add(name)
        self._make_room(name, addition.nbytes)
        return addition

    def commit(self, addition: Addition) -> None:
        """Adds a shard whose file was written; raises `StoreError`."""
        with self._index.transaction():
            self._make_room(addition.name, addition.written.bytes)
            addition.enter(self._index, place(self.root, addition.name))

    def end(self, addition: Addition) -> None:
        """Removes what is left of the temporary file, and its folder if no other shard is on its way."""
        self._additions.discard(addition.name)
        addition.discard(last=not self._additions)

    def _make_room(self, name: str, coming: int) -> None:
        if self.budget is not None:
            self._closed(evict(self.root, self._index, self._pins, self.budget, coming, name))

    def read(self, entry: Entry) -> Rows:
        """Returns the stored rows (rows, layer, dim) of an entry, in the stored format.

        At the first access to a shard, its size and header are checked, and its bytes are hashed unless the file is unchanged
        since the last hashing (size, modification time, inode). Raises `StoreError` for a damaged shard, which is then dropped,
        and for a shard that was evicted because this process did not pin it with `use`.
        """
        return self.rows_of(entry.shard)[entry.start : entry.start + entry.rows]

    def rows_of(self, shard: str) -> Rows:
        """Returns all rows of a shard, which `read` divides; errors as there."""
        if shard not in self._open:
            self._open[shard] = self._shard(shard)
        return self._open[shard]

    @contextlib.contextmanager
    def working_on(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Yields True if this process has locked the shard for writing; without `wait`, False if another process has. The lock
        is released when its process ends."""
        with locked(self.root / "locks" / name[:3], wait=wait) as is_locked:
            yield is_locked

    def _shard(self, name: str) -> Rows:
        try:
            if not self._verified(name):
                raise StoreError(
                    f"The stored features {name} were evicted; no running process had pinned them. "
                    "Run the same command again to compute them again."
                )
            return opened(place(self.root, name))
        except Damaged as error:
            with contextlib.suppress(StoreError):  # report the damage, not a failure to drop the shard
                self.forget(name)
            raise StoreError(
                f"The stored features {place(self.root, name)} are damaged: {error}. They were dropped; "
                "run the same command again to compute them again."
            ) from error

    def _is_intact(self, name: str) -> bool:
        try:
            return self._verified(name)
        except Damaged:
            self.forget(name)
            return False

    def _verified(self, name: str) -> bool:
        """Returns True if the shard is stored; raises `Damaged` if its file differs from what was written."""
        stamps = self._index.rows("SELECT checked FROM shards WHERE name = ?", (name,))
        for row in stamps:
            facts = self._index.known("shards", [name])
            if name not in facts:
                raise Damaged("its row in the index is not what was written")
            known = Written(*facts[name], *row)
            current = proved(place(self.root, name), known)
            if current != known.stamp:
                remember(self._index, name, current)
            return True
        return False

    # -------------------------------------------------------- housekeeping

    def contents(self) -> list[Holding]:
        """Returns a summary of each shard, the most recently used first."""
        pinned = self._pins.pinned()
        counts = dict(self._index.rows("SELECT shard, count(*) FROM entries GROUP BY shard"))
        shards = self._index.rows("SELECT name, bytes, made, coalesce(used, made) FROM shards ORDER BY 4 DESC, name")
        return [
            Holding(
                shard=name, entries=counts.get(name, 0), bytes=size, made=made, used=used, pinned=name in pinned,
                format=format_of(place(self.root, name)),
            )
            for name, size, made, used in shards
        ]  # fmt: skip

    def gc(self, budget: int | None = None) -> list[Removal]:
        """Removes files of dead processes, then the least recently used shards over `budget` (default: that of the store).

        Shards that a running process has pinned stay, even if the store then exceeds the budget. Returns the removals.
        """
        removed = sweep(self.root, self._index, self._pins)
        limit = self.budget if budget is None else budget
        if limit is not None:
            removed += self._closed(evict(self.root, self._index, self._pins, limit))
        return removed

    def verify(self, reporter: Reporter | None = None) -> Iterator[ShardState]:
        """Hashes every shard and compares it with the index; yields a state for each shard, stray file and lost entry.

        No features are changed; `forget` drops a damaged shard, `gc` removes a stray file.
        """
        return verify(self.root, self._index, reporter or Silence())

    def forget(self, name: str) -> None:
        """Drops a shard and its entries. If `name` is a table of the index, drops the damaged rows of that table."""
        if name in SEALED:
            self._index.known(name, self._index.false(name))
            return
        self._open.pop(name, None)
        drop(self.root, self._index, [name])

    def forget_older(self, shards: Iterable[str], moment: float) -> int:
        """Drops those shards that were made before `moment` (Unix time), even if another process needs them; returns their
        number."""
        query = "SELECT name, made FROM shards WHERE name IN ({})"
        older = [name for name, made in self._index.among(query, sorted(set(shards))) if made < moment]
        for name in older:
            self.forget(name)
        return len(older)

    def _closed(self, removed: list[Removal]) -> list[Removal]:
        for removal in removed:
            self._open.pop(removal.name, None)
        return removed
