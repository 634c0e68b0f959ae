"""Submissions that a served board has received: each with its state, kept on the board's own storage until long after its end.

A submission is on the storage, bytes first, before its sender hears of it; it leaves the queue only when its end is written down.
A server that was killed finds all of them where they were.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pydantic import TypeAdapter

from superbench.board.storage.base import Reading, Storage, Writing, checked, now

State = Literal["queued", "scoring", "accepted", "refused", "failed"]
ENDED: tuple[State, ...] = ("accepted", "refused", "failed")
KEPT = 1_000
"""Ended submissions whose state is remembered."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What its sender may see, and which `server` decides it, as of when it was `leased` last. `status`, `code` and `reason`
    say why it was refused; times are UTC."""

    id: str
    by: str
    received: str
    bytes: int
    upstream: str
    tasks: tuple[str, ...]
    digest: str
    state: State = "queued"
    status: int = 202
    code: str = ""
    reason: str = ""
    ended: str = ""
    tries: int = 0
    server: str = ""
    leased: str = ""

    @property
    def pending(self) -> bool:
        """Is it still to be decided?"""
        return self.state not in ENDED

    def end(self, state: State, status: int, code: str = "", reason: str = "") -> Submission:
        """The same, decided now."""
        return replace(self, state=state, status=status, code=code, reason=reason, ended=now())

    def public(self) -> dict[str, Any]:
        """As plain values for the sender."""
        return {key: value for key, value in asdict(self).items() if key not in ("tries", "server", "leased")}


_RECORD = TypeAdapter(Submission)


def received(by: str, size: int, upstream: str, tasks: tuple[str, ...], digest: str) -> Submission:
    """A new submission; its id cannot be guessed, and sorts by time."""
    moment = now()
    return Submission(f"{moment}-{secrets.token_hex(8)}", by, moment, size, upstream, tasks, digest)


def keep(storage: Storage, submission: Submission, data: bytes) -> None:
    """Put a new submission on the storage: when this returns, it is on the disk."""
    with storage.writing() as writer:
        writer.put("incoming", f"{submission.id}.zip", data)
        writer.put("incoming", f"{submission.id}.json", _packed(submission))


def update(storage: Storage, submission: Submission) -> None:
    """Write down its state; of one that ended the bytes go."""
    with storage.writing() as writer:
        write(writer, submission)


def write(writer: Writing, submission: Submission) -> None:
    """The same within a write that has begun."""
    writer.put("incoming", f"{submission.id}.json", _packed(submission))
    if not submission.pending:
        writer.drop("incoming", f"{submission.id}.zip")


def read(storage: Reading, identity: str) -> Submission | None:
    """One submission as it stands on the storage; None for one that is not there, or says nothing that we wrote."""
    try:
        one = _RECORD.validate_json(storage.get("incoming", checked(f"{identity}.json")) or b"")
    except ValueError:
        return None
    return one if one.id == identity else None  # its id is the name of files here and there


def forget(storage: Storage, ids: list[str]) -> None:
    """Remove the state of submissions that ended long ago."""
    with storage.writing() as writer:
        for one in ids:
            writer.drop("incoming", f"{one}.json")


def data_of(storage: Reading, submission: Submission) -> bytes | None:
    """The bundle's bytes, as long as it is undecided."""
    return storage.get("incoming", f"{submission.id}.zip")


def all_of(storage: Reading) -> list[Submission]:
    """Every submission on the storage, oldest first; one that was cut off before its state was written was never received, and
    a file that says nothing that we wrote is none."""
    names = [name.removesuffix(".json") for name in storage.names("incoming") if name.endswith(".json")]
    return sorted((one for name in names if (one := read(storage, name)) is not None), key=lambda one: one.id)


def _packed(submission: Submission) -> bytes:
    return (json.dumps(asdict(submission), ensure_ascii=False) + "\n").encode()
