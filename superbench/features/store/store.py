"""The feature store: what a frozen model said of a piece of sound, kept under a name made of content alone.

On disk: `index.sqlite` (which key lies in which rows of which shard; digests of sound files already seen; who needs what),
`shards/<xx>/<digest>.safetensors`, `writing/` for shards that have not taken their place yet, `locks/`. A shard is written
whole, then takes its place and its row in one transaction: after a crash there may be a file that nobody knows, never a
half-written entry that looks whole. Readers and writers of several processes may work at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from superbench.errors import DamagedFile, StoreError
from superbench.features.store.eviction import Removal, drop, evict, staging, sweep
from superbench.features.store.index import SEALED, Index, is_index, mark, set_aside
from superbench.features.store.pins import Pins
from superbench.features.store.shard import Damaged, Written, opened, place, proved, written
from superbench.features.store.sounds import Sound, known_sounds
from superbench.features.store.verification import ShardState, remember, verify
from superbench.system.files import save_tensors
from superbench.system.locks import held, locked
from superbench.system.progress import Reporter, Silence
from superbench.system.user import cache_folder

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a key's features lie: rows `start` to `start + rows` of a shard."""

    shard: str
    start: int
    rows: int


@dataclass(frozen=True, slots=True)
class Holding:
    """A shard as a person sees it: what it holds, when it was made and last used (Unix time), whether somebody needs it."""

    shard: str
    entries: int
    bytes: int
    made: float
    used: float
    pinned: bool


def default_root() -> Path:
    """The user's cache folder for features: `$XDG_CACHE_HOME/superbench` or `~/.cache/superbench`."""
    return cache_folder() / "superbench"


class Store:
    """Features by key, for one process; open one in each. `root` is made when absent.

    With a `budget` (bytes of shards), the least recently used shards make room for new ones, except those that a living
    process has said to `use`: rather than fail, the store then grows over its budget.
    """

    def __init__(self, root: Path, budget: int | None = None) -> None:
        self.root, self.budget = root, budget
        self._open: dict[str, Tensor] = {}
        self._renewed = False
        try:
            (root / "locks").mkdir(parents=True, exist_ok=True)
            with locked(root / "locks" / "index", wait=True):
                self._index = self._opened_index()
        except OSError as error:
            raise StoreError(
                f"The feature store {root} cannot be opened: {error}. Give another folder with --store."
            ) from error
        self._pins = Pins(root / "locks", self._index)

    def _opened_index(self) -> Index:
        """The index; a new one in place of one that is damaged, unless somebody works with it."""
        path = self.root / "index.sqlite"
        used = any(held(owner) for owner in (self.root / "locks").glob("owner-*"))
        if mark(path).exists() and is_index(path) and not used:
            set_aside(path)
            self._renewed = True
        try:
            return Index(path)
        except DamagedFile:
            if self._renewed or used or not is_index(path):
                raise
            return self._opened_index()

    def close(self) -> None:
        """Let go of everything: what this store needed may be evicted from now on."""
        self.release()
        self._open.clear()
        self._index.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sounds(self, paths: Sequence[Path]) -> list[Sound]:
        """Digest and length of sound files; bytes are read only where a file is new, or changed since they were."""
        return known_sounds(self._index, paths)

    # -------------------------------------------------------- features

    def room(self) -> int:
        """Bytes that all features together may take: the budget, or what they take now and nine tenths of what is free."""
        if self.budget is not None:
            return self.budget
        ((held,),) = self._index.rows("SELECT coalesce(sum(bytes), 0) FROM shards")
        return int(held + 0.9 * shutil.disk_usage(self.root).free)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """The entries of those keys that are stored."""
        return {key: Entry(*row) for key, row in self._index.known("entries", sorted(keys)).items()}

    def remarks(self) -> list[str]:
        """What was found damaged in the index since this was asked last, and what is done about it."""
        found, self._renewed = self._renewed, False
        rows, self._index.dropped = self._index.dropped, 0
        whole = "the index of the feature store was damaged: a new one is made, and the features with it"
        some = f"{rows} rows of the feature store's index were damaged; what they were of is read or made again"
        return [whole] * found + [some] * bool(rows)

    def use(self, shards: Iterable[str]) -> set[str]:
        """Pin shards for as long as this process lives (or until `release`); returns those that are there, and whole.

        The others may be pinned before they are made. A shard whose file changed since it was written is hashed here; one that
        is damaged is forgotten, so that whoever asked makes it anew. What `find` gave may be gone before `use` pins it:
        the answer counts.
        """
        wanted = sorted(set(shards))
        with self._index.transaction():
            self._pins.add(wanted)
            self._index.write("UPDATE shards SET used = ? WHERE name = ?", [(time.time(), name) for name in wanted])
        return {name for name in wanted if self._whole(name)}

    def release(self) -> None:
        """Drop this store's pins: a process that has done one job and goes on to the next."""
        self._pins.release()

    def add(self, name: str, keys: Sequence[bytes], values: Sequence[Tensor]) -> None:
        """Write a shard: `values[i]` (rows, layer, dim) belongs to `keys[i]`. Keys already stored keep what they have.

        Makes room first where there is a budget. Raises `StoreError` when the disk is full or cannot be written.
        """
        import torch

        self._make_room(name, sum(value.nbytes for value in values))
        staged = staging(self.root, self._pins.owner) / name
        save_tensors(staged, {"values": torch.cat(list(values))}, {"superbench": "features"})
        entries, start = [], 0
        for key, value in zip(keys, values, strict=True):
            entries.append((key, name, start, len(value)))
            start += len(value)
        try:
            self._place(name, staged, entries)
        except OSError as error:
            text = f"Could not put {staged} in its place: {error.strerror}. Check that the folder is writable."
            raise StoreError(text) from error
        finally:
            with contextlib.suppress(OSError):
                staged.unlink(missing_ok=True)
                staged.parent.rmdir()

    def _place(self, name: str, staged: Path, entries: list[tuple]) -> None:
        facts, now = written(staged), time.time()
        with self._index.transaction():
            self._make_room(name, facts.bytes)
            place(self.root, name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staged, place(self.root, name))
            self._index.put("shards", [(name, facts.bytes, facts.checksum)])
            when = "UPDATE shards SET made = ?, used = ?, checked = ? WHERE name = ?"
            self._index.write(when, [(now, now, facts.stamp, name)])
            self._index.write("DELETE FROM entries WHERE shard = ?", [(name,)])  # of what stood there before
            self._index.put("entries", entries, replacing=False)

    def _make_room(self, name: str, coming: int) -> None:
        if self.budget is not None:
            self._closed(evict(self.root, self._index, self._pins, self.budget, coming, name))

    def read(self, entry: Entry) -> Tensor:
        """The stored rows (rows, layer, dim) of an entry, in the stored dtype.

        When a process opens a shard for the first time, its size and header are looked at, and its bytes are hashed unless the
        file is the very one that was hashed before (size, time of change, inode). Raises `StoreError` for a damaged shard,
        which is then forgotten, and for one that was evicted because this process did not `use` it.
        """
        if entry.shard not in self._open:
            self._open[entry.shard] = self._shard(entry.shard)
        return self._open[entry.shard][entry.start : entry.start + entry.rows]

    @contextlib.contextmanager
    def working_on(self, name: str, *, wait: bool) -> Iterator[bool]:
        """True inside if this process alone works on the shard; without `wait`, False if another one does. Locks die with
        their holder."""
        with locked(self.root / "locks" / name[:3], wait=wait) as mine:
            yield mine

    def _shard(self, name: str) -> Tensor:
        try:
            if not self._prove(name):
                raise StoreError(
                    f"The stored features {name} made room for others, because nobody had pinned them. "
                    "Run the same command again to make them anew."
                )
            return opened(place(self.root, name))
        except Damaged as error:
            with contextlib.suppress(StoreError):  # the damage is the message, not that it cannot be put right here
                self.forget(name)
            raise StoreError(
                f"The stored features {place(self.root, name)} are damaged: {error}. They are forgotten; "
                "run the same command again to make them anew."
            ) from error

    def _whole(self, name: str) -> bool:
        try:
            return self._prove(name)
        except Damaged:
            self.forget(name)
            return False

    def _prove(self, name: str) -> bool:
        """Is the shard stored? Raises `Damaged` if its file is not what was written."""
        there = self._index.rows("SELECT checked FROM shards WHERE name = ?", (name,))
        for row in there:
            facts = self._index.known("shards", [name])
            if name not in facts:
                raise Damaged("its row in the index is not what was written")
            known = Written(*facts[name], *row)
            seen = proved(place(self.root, name), known)
            if seen != known.stamp:
                remember(self._index, name, seen)
            return True
        return False

    # -------------------------------------------------------- housekeeping

    def contents(self) -> list[Holding]:
        """What is stored, the most recently used first."""
        pinned = self._pins.pinned()
        counts = dict(self._index.rows("SELECT shard, count(*) FROM entries GROUP BY shard"))
        shards = self._index.rows("SELECT name, bytes, made, coalesce(used, made) FROM shards ORDER BY 4 DESC, name")
        return [Holding(name, counts.get(name, 0), size, made, used, name in pinned) for name, size, made, used in shards]

    def gc(self, budget: int | None = None) -> list[Removal]:
        """Remove what dead processes left, then the least recently used shards over `budget` (default: the store's own).

        Shards that a living process needs stay, even if the store remains over the budget. Returns what was removed.
        """
        removed = sweep(self.root, self._index, self._pins)
        limit = self.budget if budget is None else budget
        if limit is not None:
            removed += self._closed(evict(self.root, self._index, self._pins, limit))
        return removed

    def verify(self, reporter: Reporter | None = None) -> Iterator[ShardState]:
        """Hash every shard and compare with the index; a finding for each, and for files and entries that belong to none.

        Nothing is changed; `forget` drops a damaged shard, `gc` a stray file.
        """
        return verify(self.root, self._index, reporter or Silence())

    def forget(self, name: str) -> None:
        """Drop a shard and its entries; of a table of the index, the rows that do not hold what was written."""
        if name in SEALED:
            self._index.known(name, self._index.false(name))
            return
        self._open.pop(name, None)
        drop(self.root, self._index, [name])

    def forget_older(self, shards: Iterable[str], moment: float) -> int:
        """Drop those of the shards that were made before `moment` (Unix time), also if another process needs them; returns
        how many."""
        query = "SELECT name, made FROM shards WHERE name IN ({})"
        older = [name for name, made in self._index.among(query, sorted(set(shards))) if made < moment]
        for name in older:
            self.forget(name)
        return len(older)

    def _closed(self, removed: list[Removal]) -> list[Removal]:
        for one in removed:
            self._open.pop(one.name, None)
        return removed
