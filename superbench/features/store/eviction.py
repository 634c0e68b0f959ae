"""Keeps a feature store within its budget: evicts the least recently used shards, and removes files of dead processes.

Shards are added and removed in a transaction of the index, by one process at a time. Files are removed before their rows: this
frees space that the index itself needs on a full disk. A crash in between leaves rows without a file; the next reader notices
them and drops them.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from superbench.errors import StoreError
from superbench.features.store.index import Index
from superbench.features.store.pins import Pins
from superbench.features.store.shard import place
from superbench.system.locks import locked

ABANDONED_SECONDS = 3600.0
"""Age from which a file that is not in the index counts as abandoned, even if a process holds its lock."""

Reason = Literal["least recently used", "in no index", "left by a dead process"]


@dataclass(frozen=True, slots=True)
class Holding:
    """A summary of a shard: its size, when it was made and last used (Unix time), whether a running process needs it, and the
    format of its values: `float32` (means), `float16` or `int8` (frames), or `unreadable`."""

    shard: str
    entries: int
    bytes: int
    made: float
    used: float
    pinned: bool
    format: str


@dataclass(frozen=True, slots=True)
class Removal:
    """A removed shard, or a removed file that never became a shard."""

    name: str
    bytes: int
    reason: Reason


def staging(root: Path, owner: str) -> Path:
    """Returns the folder in which a process writes shards before they are added to the store."""
    return root / "writing" / owner


def drop(root: Path, index: Index, names: list[str]) -> None:
    """Removes shards and their entries."""
    with index.transaction():
        for name in names:
            _remove(place(root, name))
        index.write_among("DELETE FROM shards WHERE name IN ({})", names)
        index.write_among("DELETE FROM entries WHERE shard IN ({})", names)


def evict(root: Path, index: Index, pins: Pins, budget: int, coming: int = 0, but: str = "") -> list[Removal]:
    """Removes the least recently used shards until `coming` more bytes fit into `budget`, or only pinned shards are left.

    The shard `but` is about to be written again, so its present size is not counted.
    """
    with index.transaction():
        [(total,)] = index.rows("SELECT coalesce(sum(bytes), 0) FROM shards WHERE name != ?", (but,))
        excess = total + coming - budget
        if excess <= 0:
            return []
        pins.bury()
        pinned, removed = pins.pinned() | {but}, []
        for name, size in index.rows("SELECT name, bytes FROM shards ORDER BY coalesce(used, made), name"):
            if excess > 0 and name not in pinned:
                removed.append(Removal(name, size, "least recently used"))
                excess -= size
        drop(root, index, [removal.name for removal in removed])
    return removed


def sweep(root: Path, index: Index, pins: Pins) -> list[Removal]:
    """Removes files of processes that died while they wrote, and files that are not in the index."""
    with index.transaction():
        pins.bury()
        removed = [*_left_by_dead_processes(root, pins)]
        for path in strangers(root, index):
            if _abandoned(root, path):
                removed.append(Removal(path.name, path.stat().st_size, "in no index"))
                _remove(path)
    return removed


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"Could not remove {path}: {error.strerror}. Check that its folder is writable.") from error


def _left_by_dead_processes(root: Path, pins: Pins) -> Iterator[Removal]:
    for folder in sorted((root / "writing").glob("*")):
        if not pins.alive(folder.name):
            for path in sorted(folder.iterdir()):
                yield Removal(path.name, path.stat().st_size, "left by a dead process")
            shutil.rmtree(folder, ignore_errors=True)


def strangers(root: Path, index: Index) -> list[Path]:
    """Returns files among the shards that are not in the index."""
    known = {row[0] for row in index.rows("SELECT name FROM shards")}
    files = sorted(path for path in (root / "shards").glob("*/*") if path.is_file())
    return [path for path in files if path.name != f"{path.stem}.safetensors" or path.stem not in known]


def _abandoned(root: Path, path: Path) -> bool:
    """Returns True if no process works on the shard of the file, or the file is old. Hidden files are those of a writer."""
    with locked(root / "locks" / path.name.lstrip(".")[:3], wait=False) as free:
        return free or time.time() - path.stat().st_mtime > ABANDONED_SECONDS
