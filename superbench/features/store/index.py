"""The index of a feature store: an SQLite file that says what lies where. Any number of processes may have it open.

A row of which a wrong value would give wrong features or lengths is sealed with a digest of itself, which is looked at whenever
it is read. A row that does not hold what was written is dropped and counted: what it was of is read, or made, again.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from superbench.errors import DamagedFile, StoreError

VERSION = 3
"""`user_version` of the file. 0: made before shards had `used` and `checked`, and before there were pins; 1: before sounds had
`changed`; 2: before rows had seals."""
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS sounds (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, inode INTEGER, digest TEXT,"
    " samples INTEGER, rate INTEGER, changed INTEGER, seal BLOB) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS shards (name TEXT PRIMARY KEY, bytes INTEGER, checksum TEXT, made REAL, used REAL,"
    " checked TEXT, seal BLOB) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, shard TEXT, start INTEGER, rows INTEGER,"
    " seal BLOB) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS pins (owner TEXT, shard TEXT, PRIMARY KEY (owner, shard)) WITHOUT ROWID",
)
LATER_COLUMNS = (("shards", "used", "REAL"), ("shards", "checked", "TEXT"), ("sounds", "changed", "INTEGER"))
"""Columns that earlier versions had not, besides seals."""
SEALED = {
    "sounds": ("path", "size", "mtime", "changed", "inode", "digest", "samples", "rate"),
    "shards": ("name", "bytes", "checksum"),
    "entries": ("key", "shard", "start", "rows"),
}
"""What the seal of a table's row is of; the first column is its key."""
CHUNK = 500
PATIENCE = 120.0
"""Seconds to wait for another process that writes."""


class Index:
    """One connection to the index at `path`, which is made, or brought up to date, when it must be.

    Every failure is a `StoreError` that says what to do. One at a time may open a new index (the caller sees to that). Opened
    with `read_only`, the file stays as it is; `version` says what it knows.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path, self.read_only, self.dropped = path, read_only, 0
        with self._failing("opened"):
            place = f"{path.absolute().as_uri()}{_looking(path)}" if read_only else path
            self._connection = sqlite3.connect(place, timeout=PATIENCE, isolation_level=None, uri=read_only)
            self._connection.text_factory = partial(str, encoding="utf-8", errors="replace")
            self._connection.execute("PRAGMA cell_size_check=ON")
            if not read_only:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=NORMAL")
            [(found,)] = self.rows("PRAGMA user_version")
        if found > VERSION:
            raise StoreError(
                f"The feature store {path.parent} was made by a newer superbench (its index has version {found}, this one "
                f"knows {VERSION}). Update superbench, or give another folder with --store."
            )
        self.version = found
        if found < VERSION and not read_only:
            self._update()

    def _update(self) -> None:
        with self.transaction():
            for statement in SCHEMA:
                self._do(statement)
            for table, column, kind in LATER_COLUMNS:
                if column not in {row[1] for row in self.rows(f"PRAGMA table_info({table})")}:
                    self._do(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
            self._connection.create_function("sealed", -1, sealed, deterministic=True)
            for table, columns in SEALED.items():
                if "seal" not in {row[1] for row in self.rows(f"PRAGMA table_info({table})")}:
                    self._do(f"ALTER TABLE {table} ADD COLUMN seal BLOB")
                    self._do(f"UPDATE {table} SET seal = sealed({','.join(columns)})")
            self._do(f"PRAGMA user_version = {VERSION}")

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self._failing("read"):
            return self._connection.execute(query, values).fetchall()

    def among(self, query: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        """What a query finds whose `{}` stands for a list of values, however long the list is."""
        for some in _chunks(values):
            yield from self.rows(query.format(_marks(some)), some)

    def known(self, table: str, keys: Sequence[object]) -> dict[Any, tuple[Any, ...]]:
        """The sealed values of those keys that a table has, but for the keys themselves. Rows that do not hold what was written
        are dropped."""
        key, *columns = SEALED[table]
        query = f"SELECT {key}, {','.join(columns)}, seal FROM {table} WHERE {key} IN ({{}})"
        found = list(self.among(query, keys))
        true = {row[0]: row[1:-1] for row in found if row[-1] == sealed(*row[:-1])}
        if false := [row[0] for row in found if row[0] not in true]:
            self.dropped += len(false)
            if not self.read_only:
                self.write_among(f"DELETE FROM {table} WHERE {key} IN ({{}})", false)
        return true

    def put(self, table: str, rows: Sequence[Sequence[object]], *, replacing: bool = True) -> None:
        """Write rows (values in the order of `SEALED`) with their seals; unless `replacing`, those of known keys stay."""
        columns = (*SEALED[table], "seal")
        how = "REPLACE" if replacing else "IGNORE"
        statement = f"INSERT OR {how} INTO {table} ({','.join(columns)}) VALUES ({_marks(columns)})"
        self.write(statement, [(*row, sealed(*row)) for row in rows])

    def false(self, table: str) -> list[Any]:
        """The keys of a table's rows that do not hold what was written; all of them are looked at."""
        rows = self.rows(f"SELECT {','.join(SEALED[table])}, seal FROM {table}")
        return [row[0] for row in rows if row[-1] != sealed(*row[:-1])]

    def write(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Carry out a statement for each of `rows`; several that belong together go into a `transaction`."""
        with self._failing("written"):
            self._connection.executemany(statement, rows)

    def write_among(self, statement: str, values: Sequence[object]) -> None:
        """Carry out a statement whose `{}` stands for a list of values, however long: one pass over the table for many."""
        for some in _chunks(values):
            self.write(statement.format(_marks(some)), [some])

    def _do(self, statement: str) -> None:
        with self._failing("written"):
            self._connection.execute(statement)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and one process at a time; within another transaction it is part of that one."""
        if self._connection.in_transaction:
            yield
            return
        self._do("BEGIN IMMEDIATE")
        try:
            yield
            self._do("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.OperationalError):  # a full disk may have rolled it back already
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    @contextlib.contextmanager
    def _failing(self, done: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            kind: Callable[[str], StoreError] = StoreError
            if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                kind = DamagedFile
                self._mark()
            raise kind(f"The index {self.path} cannot be {done}: {error}. {_advice(self.path, error)}") from error

    def _mark(self) -> None:
        """Whoever opens the index next sees that it is damaged."""
        if not self.read_only:
            with contextlib.suppress(OSError):
                mark(self.path).touch()


def sealed(*values: object) -> bytes:
    """Digest of a row's values."""
    return hashlib.blake2b(repr(values).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def mark(path: Path) -> Path:
    """The file that says of an index that it was found damaged."""
    return path.with_name("index.damaged")


def is_index(path: Path) -> bool:
    """Does a file begin as an index does, whatever became of the rest?"""
    try:
        with path.open("rb") as file:
            start = file.read(2**16)
    except OSError:
        return False
    return b"TABLE shards" in start or b"TABLE entries" in start


def set_aside(path: Path) -> None:
    """Make room for a new index in place of one that is damaged; nobody may have it open."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name("damaged.sqlite"))
    mark(path).unlink(missing_ok=True)


def _looking(path: Path) -> str:
    """How a file is opened that is to stay as it is, without files beside it; what others are writing is seen all the same."""
    return "?mode=ro" if path.with_name(path.name + "-wal").exists() else "?mode=ro&immutable=1"


def _chunks(values: Sequence[object]) -> Iterator[Sequence[object]]:
    return (values[at : at + CHUNK] for at in range(0, len(values), CHUNK))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _advice(path: Path, error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return "The disk is full: free some space and run the same command again; it goes on from here."
    if name.startswith("SQLITE_BUSY"):
        return f"Another process has been writing for {PATIENCE:.0f} s: wait for it, or end it, and run the same command again."
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        if not is_index(path):
            return f"It is damaged: delete the folder {path.parent} and run the same command again; features are made anew."
        return "It is damaged: run the same command again, which makes a new one, and the features with it."
    return "Make the folder writable, or give another one with --store."
