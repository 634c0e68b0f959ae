"""The storage of a board: the interface that a folder and a database share.

A storage contains accepted bundles in the order of their acceptance, documents by kind and name, and a log. All changes are
made inside `writing()`: by one writer at a time, and completely or not at all.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

Kind = Literal["references", "labels", "tokens", "evidence", "incoming", "rulings"]
"""`references`: the board's own references. `labels`: stored by earlier versions and no longer read. `tokens`. `evidence`:
replicates, which can be computed again. `incoming`: submissions of a server's queue. `rulings`: the keeper's decisions."""

KEEPER = "keeper"
"""The name in the log for changes without a token: they are made by whoever has access to the board's storage."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """An accepted bundle: its digest, its upstream, the time of acceptance (UTC), the name of the token (`by`; "" = accepted
    without a token) and its path or key in the storage (`place`)."""

    digest: str
    upstream: str
    accepted: str
    by: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log: time, person, action, its subject, and a remark."""

    at: str
    who: str
    what: str
    subject: str
    remark: str = ""

    def to_json(self) -> str:
        """Returns the line."""
        return json.dumps(asdict(self), ensure_ascii=False)


class Reading(Protocol):
    """Read access to a storage, also during a write: a reader sees either none or all of the changes of a writer."""

    def bundles(self) -> list[StoredBundle]:
        """Returns all accepted bundles, the latest last."""
        ...

    def data(self, digest: str) -> bytes:
        """Returns the bytes of a bundle; raises `KeyError`."""
        ...

    def get(self, kind: Kind, name: str) -> bytes | None:
        """Returns a document; None if there is none of this name."""
        ...

    def names(self, kind: Kind) -> list[str]:
        """Returns the names of all documents of a kind, sorted."""
        ...


class Writing(Reading, Protocol):
    """Write access; the changes are made when `writing()` ends without an error."""

    def add(self, stored: StoredBundle, data: bytes) -> StoredBundle:
        """Adds a bundle; returns its record with `place` set."""
        ...

    def put(self, kind: Kind, name: str, data: bytes) -> None:
        """Writes a document; replaces an existing one of that name."""
        ...

    def drop(self, kind: Kind, name: str) -> None:
        """Removes a document if it exists."""
        ...

    def log(self, event: Event) -> None:
        """Appends an event to the log."""
        ...


class Storage(Reading, Protocol):
    """A folder or a database that contains a board, or will contain one after the first write."""

    address: str

    def exists(self) -> bool:
        """Returns whether there is a board."""
        ...

    def writing(self) -> AbstractContextManager[Writing]:
        """Returns the only writer; waits until another writer has ended. Creates the board if there is none."""
        ...

    def events(self) -> list[Event]:
        """Returns the log, oldest event first."""
        ...

    def close(self) -> None:
        """Closes all connections."""
        ...


def checked(name: str) -> str:
    """Returns `name` if it is a valid name of a document (and of a file); raises `ValueError` otherwise."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"{name!r:.100} is not a name of a document")
    return name


def now() -> str:
    """Returns the time (UTC) in microseconds, as a text that sorts by time: `20261124T180102.000003Z`."""
    moment = time.time_ns()
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(moment // 10**9))}.{moment // 1000 % 10**6:06d}Z"


def event(who: str, what: str, subject: str, remark: str = "") -> Event:
    """Returns an event with the current time."""
    return Event(at=now(), who=who, what=what, subject=subject, remark=remark)


def parse_events(lines: Sequence[str]) -> list[Event]:
    """Parses the lines of a log; skips a line that was cut off."""
    events = []
    for line in lines:
        try:
            value: Any = json.loads(line)
            events.append(Event(**value))
        except (ValueError, TypeError):
            continue
    return events
