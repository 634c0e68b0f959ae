"""Where a board keeps its things: what a folder and a database have in common.

A storage holds accepted bundles in the order in which they came, documents by kind and name, and a log. Everything that changes
it happens inside `writing()`: one writer at a time, and all of it or nothing.
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
"""The board's own references; `labels`, which earlier versions kept and nothing reads; tokens; replicates (may be made again);
submissions that wait for a server; what the keeper decided about single bundles."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """An accepted bundle: its digest, its upstream, when it was accepted (UTC), by whose token ("" = no token was asked for),
    where it lies."""

    digest: str
    upstream: str
    accepted: str
    by: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log: when, who, what was done, to what, and a remark."""

    at: str
    who: str
    what: str
    subject: str
    remark: str = ""

    def to_json(self) -> str:
        """As a line."""
        return json.dumps(asdict(self), ensure_ascii=False)


class Reading(Protocol):
    """What anybody may ask of a storage, also while somebody writes: they see what was there before or all that came after."""

    def bundles(self) -> list[StoredBundle]:
        """All accepted bundles, the latest last."""
        ...

    def data(self, digest: str) -> bytes:
        """A bundle's bytes; raises `KeyError`."""
        ...

    def get(self, kind: Kind, name: str) -> bytes | None:
        """A document."""
        ...

    def names(self, kind: Kind) -> list[str]:
        """The names of all documents of a kind, sorted."""
        ...


class Writing(Reading, Protocol):
    """What a writer may do besides; it is done when `writing()` ends without an error."""

    def add(self, held: StoredBundle, data: bytes) -> StoredBundle:
        """Keep a bundle; returns where it lies."""
        ...

    def put(self, kind: Kind, name: str, data: bytes) -> None:
        """Keep a document in place of the one of that name."""
        ...

    def drop(self, kind: Kind, name: str) -> None:
        """Remove a document, if there."""
        ...

    def log(self, event: Event) -> None:
        """Add to the log."""
        ...


class Storage(Reading, Protocol):
    """A folder or a database with a board in it (or none yet)."""

    address: str

    def exists(self) -> bool:
        """Is there a board?"""
        ...

    def writing(self) -> AbstractContextManager[Writing]:
        """The one writer; makes the board if there is none. Waits for another writer to end."""
        ...

    def events(self) -> list[Event]:
        """The log, oldest first."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def checked(name: str) -> str:
    """A document's name, which is a file's name where the storage is a folder; raises `ValueError` for anything else."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"{name!r:.100} is no name of a document")
    return name


def now() -> str:
    """UTC to the microsecond, so that texts sort in the order of time: `20261124T180102.000003Z`."""
    moment = time.time_ns()
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(moment // 10**9))}.{moment // 1000 % 10**6:06d}Z"


def event(who: str, what: str, subject: str, remark: str = "") -> Event:
    """Something that happens now."""
    return Event(now(), who, what, subject, remark)


def parse_events(lines: Sequence[str]) -> list[Event]:
    """Events from lines; a last one that was cut off is left out."""
    found = []
    for line in lines:
        try:
            value: Any = json.loads(line)
            found.append(Event(**value))
        except (ValueError, TypeError):
            continue
    return found
