"""Submissions that a board's server has received, with their states. They are documents in the board's own storage.

A submission is stored (its bytes first) before the server answers its sender. It leaves the queue only when its decision is
stored. A server that restarts after a kill therefore continues with the same queue.
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
_HIDDEN = ("tries", "server", "leased", "token")
KEPT = 1_000
"""Decided submissions whose state is kept; older ones are removed."""


@dataclass(frozen=True, slots=True)
class Submission:
    """The state of a submission. `status`, `code` and `reason` explain a refusal; times are UTC.

    `tries`, `server` (which server decides it), `leased` (time of the latest lease) and `token` (the digest of the token that
    sent it, under which the board stores the token; empty in submissions that earlier versions received) are not shown to the
    sender. `hidden`: the sender asked to hide the row.
    """

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
    token: str = ""
    hidden: bool = False

    @property
    def pending(self) -> bool:
        """Whether it is undecided."""
        return self.state not in ENDED

    def end(self, state: State, status: int, code: str = "", reason: str = "") -> Submission:
        """Returns the submission with a decision made now."""
        return replace(self, state=state, status=status, code=code, reason=reason, ended=now())

    def public(self) -> dict[str, Any]:
        """Returns what the sender may see, as plain values."""
        return {key: value for key, value in asdict(self).items() if key not in _HIDDEN}


_RECORD = TypeAdapter(Submission)


def received(
    by: str, size: int, upstream: str, tasks: tuple[str, ...], digest: str, token: str = "", *, hidden: bool = False
) -> Submission:
    """Returns a new submission with an id that cannot be guessed and that sorts by time."""
    moment = now()
    return Submission(
        id=f"{moment}-{secrets.token_hex(8)}", by=by, received=moment, bytes=size, upstream=upstream, tasks=tasks,
        digest=digest, token=token, hidden=hidden,
    )  # fmt: skip


def keep(storage: Storage, submission: Submission, data: bytes) -> None:
    """Stores a new submission; when this returns, it is on the disk."""
    with storage.writing() as writer:
        writer.put("incoming", f"{submission.id}.zip", data)
        writer.put("incoming", f"{submission.id}.json", _packed(submission))


def update(storage: Storage, submission: Submission) -> None:
    """Stores the state of a submission; removes the bytes of a decided one."""
    with storage.writing() as writer:
        write(writer, submission)


def write(writer: Writing, submission: Submission) -> None:
    """Does the same as `update`, within a write that is already open."""
    writer.put("incoming", f"{submission.id}.json", _packed(submission))
    if not submission.pending:
        writer.drop("incoming", f"{submission.id}.zip")


def read(storage: Reading, identity: str) -> Submission | None:
    """Reads one submission from the storage; None if it does not exist or its record is not valid."""
    try:
        submission = _RECORD.validate_json(storage.get("incoming", checked(f"{identity}.json")) or b"")
    except ValueError:
        return None
    return submission if submission.id == identity else None  # the id becomes a file name: it must be the checked one


def forget(storage: Storage, ids: list[str]) -> None:
    """Removes the states of submissions that were decided long ago."""
    with storage.writing() as writer:
        for identity in ids:
            writer.drop("incoming", f"{identity}.json")


def data_of(storage: Reading, submission: Submission) -> bytes | None:
    """Returns the bundle's bytes; None for a decided submission."""
    return storage.get("incoming", f"{submission.id}.zip")


def all_of(storage: Reading) -> list[Submission]:
    """Returns all submissions in the storage, oldest first.

    Bytes without a state were never received completely, and files without a valid record are skipped.
    """
    names = [name.removesuffix(".json") for name in storage.names("incoming") if name.endswith(".json")]
    submissions = (read(storage, name) for name in names)
    return sorted(filter(None, submissions), key=lambda submission: submission.id)


def _packed(submission: Submission) -> bytes:
    return (json.dumps(asdict(submission), ensure_ascii=False) + "\n").encode()
