"""The feature store: what a frozen model said of a piece of sound, kept under a name made of content alone.

On disk: `index.sqlite` (which key lies in which rows of which shard; digests of sound files already seen) and
`shards/<xx>/<digest>.safetensors`. A shard is written whole, then indexed in one transaction: after a crash there may be an
unindexed file, never a half-written entry that looks whole. Readers and writers of several processes may work at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from superbench.errors import StoreError
from superbench.features.audio import header
from superbench.files import save_tensors

SCHEMA = """
CREATE TABLE IF NOT EXISTS sounds (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, inode INTEGER,
                                   digest TEXT, samples INTEGER, rate INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shards (name TEXT PRIMARY KEY, bytes INTEGER, checksum TEXT, made REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, shard TEXT, start INTEGER, rows INTEGER) WITHOUT ROWID;
"""
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Sound:
    """Facts of a sound file: digest of its bytes, samples at its own rate, that rate."""

    digest: str
    samples: int
    rate: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a key's features lie: rows `start` to `start + rows` of a shard."""

    shard: str
    start: int
    rows: int


def default_root() -> Path:
    """The user's cache folder for features: `$XDG_CACHE_HOME/superbench` or `~/.cache/superbench`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "superbench"


class Store:
    """Features by key, for one process; open one in each. `root` is made when absent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: dict[str, Any] = {}
        try:
            (root / "locks").mkdir(parents=True, exist_ok=True)
            self._index = sqlite3.connect(root / "index.sqlite", timeout=120, isolation_level=None)
            self._index.execute("PRAGMA journal_mode=WAL")
            self._index.execute("PRAGMA synchronous=NORMAL")
            for statement in SCHEMA.strip().split(";\n"):
                self._index.execute(statement)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"The feature store {root} cannot be opened: {error}. Give another folder with --store."
            ) from error

    # -------------------------------------------------------- sound files

    def sounds(self, paths: Sequence[Path]) -> list[Sound]:
        """Digest and length of sound files; bytes are read only where (path, size, mtime, inode) is new."""
        known = self._known(paths)
        fresh: dict[str, tuple] = {}
        for path in paths:
            text, stamp = str(path), _stamp(path)
            if text not in known or known[text][:3] != stamp:
                samples, rate = header(path)
                digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
                known[text] = (*stamp, digest, samples, rate)
                fresh[text] = (text, *known[text])
        if fresh:
            with self._transaction():
                self._write("INSERT OR REPLACE INTO sounds VALUES (?,?,?,?,?,?,?)", list(fresh.values()))
        return [Sound(*known[str(path)][3:]) for path in paths]

    def _known(self, paths: Sequence[Path]) -> dict[str, tuple]:
        names = list({str(path) for path in paths})
        known: dict[str, tuple] = {}
        for at in range(0, len(names), CHUNK):
            some = names[at : at + CHUNK]
            query = f"SELECT path, size, mtime, inode, digest, samples, rate FROM sounds WHERE path IN ({_marks(some)})"
            known |= {row[0]: row[1:] for row in self._index.execute(query, some)}
        return known

    # -------------------------------------------------------- features

    def room(self) -> int:
        """Bytes that all features together may take: what they take now, and nine tenths of what is free on their disk."""
        held = self._index.execute("SELECT COALESCE(SUM(bytes), 0) FROM shards").fetchone()[0]
        return int(held + 0.9 * shutil.disk_usage(self.root).free)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """The entries of those keys that are stored."""
        found: dict[bytes, Entry] = {}
        for at in range(0, len(keys), CHUNK):
            some = keys[at : at + CHUNK]
            query = f"SELECT key, shard, start, rows FROM entries WHERE key IN ({_marks(some)})"
            found |= {key: Entry(shard, start, rows) for key, shard, start, rows in self._index.execute(query, some)}
        return found

    def add(self, name: str, keys: Sequence[bytes], values: Sequence[Tensor]) -> None:
        """Write a shard: `values[i]` (rows, layer, dim) belongs to `keys[i]`. Keys already stored keep what they have."""
        path = self._path(name)
        save_tensors(path, {"values": torch.cat(list(values))}, {"superbench": "features"})
        entries, start = [], 0
        for key, value in zip(keys, values, strict=True):
            entries.append((key, name, start, len(value)))
            start += len(value)
        with self._transaction():
            self._write(
                "INSERT OR REPLACE INTO shards VALUES (?,?,?,?)", [(name, path.stat().st_size, _checksum(path), time.time())]
            )
            self._write("INSERT OR IGNORE INTO entries VALUES (?,?,?,?)", entries)

    def read(self, entry: Entry) -> Tensor:
        """The stored rows (rows, layer, dim) of an entry, in the stored dtype."""
        if entry.shard not in self._open:
            self._open[entry.shard] = self._shard(entry.shard)
        return self._open[entry.shard][entry.start : entry.start + entry.rows]

    @contextlib.contextmanager
    def working_on(self, name: str, *, wait: bool) -> Iterator[bool]:
        """True inside if this process alone works on the shard; without `wait`, False if another one does. Locks die with
        their holder."""
        with (self.root / "locks" / name[:3]).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                mine = True
            except BlockingIOError:
                mine = False
            except OSError as error:
                raise StoreError(
                    f"The file system of {self.root} has no file locks ({error}). Give --store a folder on a local disk."
                ) from error
            yield mine

    def _shard(self, name: str) -> Any:
        from safetensors import SafetensorError, safe_open

        path = self._path(name)
        row = self._index.execute("SELECT checksum FROM shards WHERE name = ?", (name,)).fetchone()
        try:
            if row is None or _checksum(path) != row[0]:
                raise StoreError("its bytes are not those that were written")
            return safe_open(path, "pt").get_slice("values")  # a view of the mapped file
        except (OSError, SafetensorError, StoreError) as error:
            self.forget(name)
            raise StoreError(
                f"The stored features {path} are damaged: {error}. They are forgotten; "
                "run the same command again to make them anew."
            ) from error

    def forget(self, name: str) -> None:
        """Drop a shard and its entries."""
        with self._transaction():
            self._write("DELETE FROM entries WHERE shard = ?", [(name,)])
            self._write("DELETE FROM shards WHERE name = ?", [(name,)])
        self._open.pop(name, None)
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.root / "shards" / name[:2] / f"{name}.safetensors"

    def _write(self, statement: str, rows: Sequence[tuple]) -> None:
        try:
            self._index.executemany(statement, rows)
        except sqlite3.Error as error:
            raise StoreError(f"The index of the feature store {self.root} cannot be written: {error}.") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._index.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._index.execute("ROLLBACK")
            raise
        self._index.execute("COMMIT")


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        header(path)  # raises the error that a person can read
        raise
    return status.st_size, status.st_mtime_ns, status.st_ino


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
