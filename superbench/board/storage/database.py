"""A board in a database, through SQLAlchemy: an SQLite file or a PostgreSQL database.

A write is one transaction: with SQLite's `BEGIN IMMEDIATE` (in write-ahead mode, which does not block readers) or PostgreSQL's
advisory lock.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superbench.board.storage.base import Event, Kind, StoredBundle, checked
from superbench.errors import CommandError, MissingExtra, StoreError, Unavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData

SCHEMA = 1
LOCK = 0x5375_7065_7262
WAIT_SECONDS = 60


class DatabaseStorage:
    """A board in a database; the first write creates the tables. Raises `MissingExtra`, `CommandError`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._engine, self._tables = _engine(address), _tables()
        weakref.finalize(self, self._engine.dispose)  # a board that is no longer used leaves no connection open
        self._file = self._engine.url.database if self._engine.dialect.name == "sqlite" else None

    def exists(self) -> bool:
        """Returns whether the database contains the tables of a board."""
        from sqlalchemy import inspect

        if self._file is not None and not Path(self._file).is_file():
            return False
        with _readable_errors(self.address), self._engine.connect() as connection, connection.begin():
            has_board = inspect(connection).has_table("superbench_bundle")
            if has_board and inspect(connection).has_table("superbench_schema"):
                self._require_schema(connection)
            return has_board

    def _require_schema(self, connection: Connection) -> bool:
        """Returns whether the schema's version is stored. Raises `Unavailable` for a version that cannot be read."""
        from sqlalchemy import select

        version = connection.execute(select(self._tables.tables["superbench_schema"].c.version)).scalar()
        if version not in (None, SCHEMA):
            raise Unavailable(
                f"The board in this database has schema {version}; this superbench reads schema {SCHEMA}. Update superbench, "
                "or restore a backup of the board into another database."
            )
        return version is not None

    @contextlib.contextmanager
    def writing(self) -> Iterator[DatabaseWriter]:
        """Opens one transaction."""
        if self._file is not None:
            Path(self._file).parent.mkdir(parents=True, exist_ok=True)
        with (
            _readable_errors(self.address),
            self._engine.connect().execution_options(writing=True) as connection,
            connection.begin(),
        ):
            if self._engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
            self._tables.create_all(connection)
            if not self._require_schema(connection):  # a new board, or one of an earlier superbench that stored no version
                connection.execute(self._tables.tables["superbench_schema"].insert(), {"version": SCHEMA})
            yield DatabaseWriter(connection, self._tables)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[DatabaseWriter]:
        with _readable_errors(self.address), self._engine.connect() as connection, connection.begin():
            yield DatabaseWriter(connection, self._tables)

    def bundles(self) -> list[StoredBundle]:
        """Returns all bundles in the order of acceptance."""
        if not self.exists():
            return []
        with self._reading() as reader:
            return reader.bundles()

    def data(self, digest: str) -> bytes:
        """Returns the bytes of a bundle."""
        with self._reading() as reader:
            return reader.data(digest)

    def get(self, kind: Kind, name: str) -> bytes | None:
        """Returns a document; None if there is none of this name."""
        if not self.exists():
            return None
        with self._reading() as reader:
            return reader.get(kind, name)

    def names(self, kind: Kind) -> list[str]:
        """Returns the names of all documents of a kind, sorted."""
        if not self.exists():
            return []
        with self._reading() as reader:
            return reader.names(kind)

    def events(self) -> list[Event]:
        """Returns the log, oldest event first."""
        from sqlalchemy import select

        table = self._tables.tables["superbench_audit"]
        if not self.exists():
            return []
        with _readable_errors(self.address), self._engine.connect() as connection:
            rows = connection.execute(select(table).order_by(table.c.number)).all()
            return [Event(at=row.at, who=row.who, what=row.what, subject=row.subject, remark=row.remark) for row in rows]

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()


class DatabaseWriter:
    """Reads and writes within one transaction."""

    def __init__(self, connection: Connection, tables: MetaData) -> None:
        self._connection = connection
        self._bundles, self._documents, self._audit = (
            tables.tables[f"superbench_{name}"] for name in ("bundle", "document", "audit")
        )

    def bundles(self) -> list[StoredBundle]:
        """Returns all bundles in the order of acceptance."""
        from sqlalchemy import select

        table = self._bundles.c
        rows = self._connection.execute(
            select(table.digest, table.upstream, table.accepted, table.who).order_by(table.number)
        ).all()
        return [
            StoredBundle(digest=row.digest, upstream=row.upstream, accepted=row.accepted, by=row.who, place=row.digest)
            for row in rows
        ]

    def data(self, digest: str) -> bytes:
        """Returns the bytes of a bundle; raises `KeyError`."""
        from sqlalchemy import select

        data = self._connection.execute(select(self._bundles.c.data).where(self._bundles.c.digest == digest)).scalar()
        if data is None:
            raise KeyError(digest)
        return bytes(data)

    def add(self, stored: StoredBundle, data: bytes) -> StoredBundle:
        """Inserts a bundle as a row."""
        row = {
            "digest": stored.digest,
            "upstream": stored.upstream,
            "accepted": stored.accepted,
            "who": stored.by,
            "data": data,
        }
        self._connection.execute(self._bundles.insert(), row)
        return StoredBundle(
            digest=stored.digest, upstream=stored.upstream, accepted=stored.accepted, by=stored.by, place=stored.digest
        )

    def get(self, kind: Kind, name: str) -> bytes | None:
        """Returns a document; None if there is none of this name."""
        from sqlalchemy import select

        table = self._documents.c
        data = self._connection.execute(select(table.data).where(table.kind == kind, table.name == name)).scalar()
        return None if data is None else bytes(data)

    def names(self, kind: Kind) -> list[str]:
        """Returns the names of all documents of a kind, sorted in Python: databases sort by the rules of a language."""
        from sqlalchemy import select

        table = self._documents.c
        return sorted(self._connection.execute(select(table.name).where(table.kind == kind)).scalars())

    def put(self, kind: Kind, name: str, data: bytes) -> None:
        """Writes a document; replaces an existing one."""
        self.drop(kind, checked(name))
        self._connection.execute(self._documents.insert(), {"kind": kind, "name": name, "data": data})

    def drop(self, kind: Kind, name: str) -> None:
        """Removes a document if it exists."""
        table = self._documents
        self._connection.execute(table.delete().where(table.c.kind == kind, table.c.name == name))

    def log(self, event: Event) -> None:
        """Inserts an event into the log."""
        row = {"at": event.at, "who": event.who, "what": event.what, "subject": event.subject, "remark": event.remark}
        self._connection.execute(self._audit.insert(), row)


def _tables() -> MetaData:
    from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table, Text

    tables = MetaData()
    Table("superbench_schema", tables, Column("version", Integer, primary_key=True))
    Table(
        "superbench_bundle", tables, Column("number", Integer, primary_key=True), Column("digest", String(64), unique=True),
        Column("upstream", Text), Column("accepted", String(32)), Column("who", Text), Column("data", LargeBinary),
    )  # fmt: skip
    Table(
        "superbench_document", tables, Column("kind", String(20), primary_key=True),
        Column("name", String(200), primary_key=True), Column("data", LargeBinary),
    )  # fmt: skip
    Table(
        "superbench_audit", tables, Column("number", Integer, primary_key=True), Column("at", String(32)), Column("who", Text),
        Column("what", String(40)), Column("subject", Text), Column("remark", Text),
    )  # fmt: skip
    return tables


def _engine(address: str) -> Engine:
    try:
        from sqlalchemy import create_engine, event, make_url
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    except ImportError as error:
        raise MissingExtra("A board in a database", "sqlalchemy", "server") from error
    for plain in ("postgres://", "postgresql://"):
        if address.startswith(plain):
            address = "postgresql+psycopg://" + address.removeprefix(plain)
    try:
        url = make_url(address)
        backend = url.get_backend_name()
        if backend not in ("sqlite", "postgresql"):
            raise CommandError(f"A board in {backend}: expected a folder, sqlite:///FILE or postgresql://USER@HOST/NAME.")
        if backend == "postgresql":
            return create_engine(url, pool_pre_ping=True)
        engine = create_engine(url, connect_args={"timeout": WAIT_SECONDS})
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise CommandError(f"{address} is not an address of a database: {error}. Example: sqlite:///board.db") from error
    except ImportError as error:
        raise MissingExtra("A board in PostgreSQL", "psycopg", "server") from error

    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy, not the driver, begins transactions
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    def begun(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


@contextlib.contextmanager
def _readable_errors(address: str) -> Iterator[None]:
    """Turns an error of the database into a message with the next step."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        shown = make_url(address).render_as_string(hide_password=True)
        error_type = StoreError if isinstance(error, DataError | IntegrityError) else Unavailable
        raise error_type(
            f"The board's database {shown} cannot be used: {reason}. Is it running, and may you write to it?"
        ) from error
