"""The index of a feature store: an SQLite file with the location of all features. Any number of processes may open it.

Rows whose damage would cause wrong features or lengths are sealed with a digest, which is checked at every reading. A damaged
row is dropped and counted; its sound file is read again, or its features are computed again.
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
from superbench.system.leases import lease

VERSION = 3
"""`user_version` of the file. 0: shards have no `used` and `checked`, and there are no pins; 1: sounds have no `changed`; 2:
rows have no seals."""
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
"""Columns that earlier versions lack, in addition to seals."""
SEALED = {
    "sounds": ("path", "size", "mtime", "changed", "inode", "digest", "samples", "rate"),
    "shards": ("name", "bytes", "checksum"),
    "entries": ("key", "shard", "start", "rows"),
}
"""The columns that the seal of a row covers, by table; the first column is the key."""
CHUNK = 500
PATIENCE = 120.0
"""Seconds to wait while another process writes."""


class Index:
    """One connection to the index at `path`. The file is created or updated if necessary.

    Every failure raises a `StoreError` that tells the user what to do. Only one process at a time may open a new index; the
    caller ensures this. With `read_only` the file is not changed; `version` is the version of its schema. With `leases`, SQLite
    uses no locks, and a lease allows one process at a time to read or write.
    """

    def __init__(self, path: Path, *, read_only: bool = False, leases: bool = False) -> None:
        self.path, self.read_only, self.leases, self.dropped = path, read_only, leases, 0
        with self._failing("opened"):
            mode = _read_only_mode(path) if read_only else "?nolock=1" if leases else ""
            database = f"{path.absolute().as_uri()}{mode}"
            self._connection = sqlite3.connect(database, timeout=PATIENCE, isolation_level=None, uri=True)
            self._connection.text_factory = partial(str, encoding="utf-8", errors="replace")
            self._connection.execute("PRAGMA cell_size_check=ON")
            if not read_only:
                self._connection.execute(f"PRAGMA journal_mode={'DELETE' if leases else 'WAL'}")
                self._connection.execute("PRAGMA synchronous=NORMAL")
            [(version,)] = self.rows("PRAGMA user_version")
        if version > VERSION:
            raise StoreError(
                f"The feature store {path.parent} was created by a newer superbench (its index has version {version}; this one "
                f"supports {VERSION}). Update superbench, or give another folder with --store."
            )
        self.version = version
        if version < VERSION and not read_only:
            self._update()

    def _update(self) -> None:
        with self.transaction():
            for statement in SCHEMA:
                self._do(statement)
            for table, column, column_type in LATER_COLUMNS:
                if column not in {row[1] for row in self.rows(f"PRAGMA table_info({table})")}:
                    self._do(f"ALTER TABLE {table} ADD COLUMN {column} {column_type}")
            self._connection.create_function("sealed", -1, sealed, deterministic=True)
            for table, columns in SEALED.items():
                if "seal" not in {row[1] for row in self.rows(f"PRAGMA table_info({table})")}:
                    self._do(f"ALTER TABLE {table} ADD COLUMN seal BLOB")
                    self._do(f"UPDATE {table} SET seal = sealed({','.join(columns)})")
            self._do(f"PRAGMA user_version = {VERSION}")

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Returns the rows of a query."""
        with self._turn(), self._failing("read"):
            return self._connection.execute(query, values).fetchall()

    def among(self, query: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        """Yields the rows of a query whose `{}` stands for a list of values, which may be of any length."""
        for chunk in _chunks(values):
            yield from self.rows(query.format(_marks(chunk)), chunk)

    def known(self, table: str, keys: Sequence[object]) -> dict[Any, tuple[Any, ...]]:
        """Returns the sealed values (without the key) of those keys that are in the table. Damaged rows are dropped."""
        key, *columns = SEALED[table]
        query = f"SELECT {key}, {','.join(columns)}, seal FROM {table} WHERE {key} IN ({{}})"
        rows = list(self.among(query, keys))
        valid = {row[0]: row[1:-1] for row in rows if row[-1] == sealed(*row[:-1])}
        if damaged := [row[0] for row in rows if row[0] not in valid]:
            self.dropped += len(damaged)
            if not self.read_only:
                self.write_among(f"DELETE FROM {table} WHERE {key} IN ({{}})", damaged)
        return valid

    def put(self, table: str, rows: Sequence[Sequence[object]], *, replacing: bool = True) -> None:
        """Writes rows (values in the order of `SEALED`) with their seals; without `replacing`, existing rows stay."""
        columns = (*SEALED[table], "seal")
        conflict = "REPLACE" if replacing else "IGNORE"
        statement = f"INSERT OR {conflict} INTO {table} ({','.join(columns)}) VALUES ({_marks(columns)})"
        self.write(statement, [(*row, sealed(*row)) for row in rows])

    def false(self, table: str) -> list[Any]:
        """Returns the keys of all damaged rows of a table; every row is checked."""
        rows = self.rows(f"SELECT {','.join(SEALED[table])}, seal FROM {table}")
        return [row[0] for row in rows if row[-1] != sealed(*row[:-1])]

    def write(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Executes a statement for each of `rows`. Use `transaction` for statements that belong together."""
        with self._turn(), self._failing("written"):
            self._connection.executemany(statement, rows)

    def write_among(self, statement: str, values: Sequence[object]) -> None:
        """Executes a statement whose `{}` stands for a list of values of any length, with one pass over the table per chunk."""
        for chunk in _chunks(values):
            self.write(statement.format(_marks(chunk)), [chunk])

    def ensure(self, statement: str) -> None:
        """Executes a statement that creates a table if it does not exist."""
        self._do(statement)

    def _do(self, statement: str) -> None:
        with self._failing("written"):
            self._connection.execute(statement)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Executes the block atomically, one process at a time. Inside another transaction, the block is part of that one."""
        if self._connection.in_transaction:
            yield
            return
        with self._turn():
            self._do("BEGIN IMMEDIATE")
            try:
                yield
                self._do("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.OperationalError):  # a full disk may have rolled it back already
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Waits until no other process uses the index, if SQLite has no locks; a transaction is one turn."""
        if self.leases and not self._connection.in_transaction:
            with lease(self.path, wait=True) or contextlib.nullcontext():
                yield
        else:
            yield

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    @contextlib.contextmanager
    def _failing(self, done: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            error_type: Callable[[str], StoreError] = StoreError
            if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                error_type = DamagedFile
                self._mark()
            raise error_type(f"The index {self.path} cannot be {done}: {error}. {_advice(self.path, error)}") from error

    def _mark(self) -> None:
        """Marks the index as damaged for the next process that opens it."""
        if not self.read_only:
            with contextlib.suppress(OSError):
                mark(self.path).touch()


def sealed(*values: object) -> bytes:
    """Returns the digest of a row's values."""
    return hashlib.blake2b(repr(values).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def mark(path: Path) -> Path:
    """Returns the path of the file that marks an index as damaged."""
    return path.with_name("index.damaged")


def is_index(path: Path) -> bool:
    """Returns True if the file begins like an index, even if the rest is damaged."""
    try:
        with path.open("rb") as file:
            start = file.read(2**16)
    except OSError:
        return False
    return b"TABLE shards" in start or b"TABLE entries" in start


def set_aside(path: Path) -> None:
    """Renames a damaged index, so that a new one can be created; no process may have it open."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name("damaged.sqlite"))
    mark(path).unlink(missing_ok=True)


def _read_only_mode(path: Path) -> str:
    """Returns the URI parameters for reading without creating files. Pending writes of other processes are still visible."""
    return "?mode=ro" if path.with_name(path.name + "-wal").exists() else "?mode=ro&immutable=1"


def _chunks(values: Sequence[object]) -> Iterator[Sequence[object]]:
    return (values[at : at + CHUNK] for at in range(0, len(values), CHUNK))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _advice(path: Path, error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return "The disk is full: free some space and run the same command again; it resumes from here."
    if name.startswith("SQLITE_BUSY"):
        return f"Another process has been writing for {PATIENCE:.0f} s: wait for it, or end it, and run the same command again."
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        if not is_index(path):
            return (
                f"It is damaged: delete the folder {path.parent} and run the same command again; features are computed again."
            )
        return "It is damaged: run the same command again; it creates a new index and computes the features again."
    return "Make the folder writable, or give another one with --store."
