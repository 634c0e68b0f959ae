"""Submissions that wait for their examination, with a state that the submitter can see.

What is queued lies on the shelf (`incoming`), so that a killed server finds it again: a submission is `waiting` until it is
`accepted` or `refused`, and that is written together with the bundle itself. Whoever asks with the ticket sees the state.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal

from superbench.board.archive import BOUNDS
from superbench.board.bundle import Bundle
from superbench.board.shelf import Reading, Writing, event, now
from superbench.board.storage import Board, Examined
from superbench.errors import Conflict, Refusal, SuperbenchError, TooLarge

State = Literal["waiting", "accepted", "refused"]
LONGEST = 20
"""Submissions of one token that may wait at a time."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A submission: who handed it in, when, what became of it, and why. `status` is what a server answers with."""

    ticket: str
    by: str
    received: str
    state: State = "waiting"
    settled: str = ""
    upstream: str = ""
    tasks: tuple[str, ...] = ()
    digest: str = ""
    code: str = ""
    reason: str = ""
    status: int = 202


def enqueue(board: Board, data: bytes, by: str) -> Ticket:
    """Keep a submission; when this returns, it is on the disk. Raises `TooLarge`, or `Conflict` where too many wait already."""
    if len(data) > BOUNDS.packed:
        raise TooLarge(f"The bundle has {len(data) / 1e6:.0f} MB; at most {BOUNDS.packed / 1e6:.0f} MB are read.", "size")
    moment = now()
    ticket = Ticket(f"{moment}-{secrets.token_hex(8)}", by, moment)
    with board.shelf.writing() as writer:
        if sum(one.by == by for one in waiting(writer)) >= LONGEST:
            raise Conflict(f"{LONGEST} submissions of {by} wait already. Send the next when one is settled.", "queue")
        writer.put("incoming", f"{ticket.ticket}.zip", data)
        _put(writer, ticket)
        writer.log(event(by, "received", ticket.ticket, f"{len(data)} bytes"))
    return ticket


def look(reader: Reading, ticket: str) -> Ticket | None:
    """What became of a submission; None for a ticket that nobody has."""
    if not ticket.replace("-", "").replace(".", "").isalnum() or not ticket.isascii() or len(ticket) > 60:
        return None
    data = reader.get("incoming", f"{ticket}.json")
    if data is None:
        return None
    value = json.loads(data)
    return Ticket(**value | {"tasks": tuple(value["tasks"])})


def waiting(reader: Reading) -> list[Ticket]:
    """Those whose bundle still lies there, oldest first."""
    names = [name.removesuffix(".zip") for name in reader.names("incoming") if name.endswith(".zip")]
    found = (look(reader, name) for name in names)
    return [one for one in found if one is not None and one.state == "waiting"]


def work(board: Board, examine: Callable[[Board, bytes], Examined] = Board.examine) -> Ticket | None:
    """Examine the oldest that waits, and settle it; None if none waits. Readers are not held up: only the last step writes.

    `examine`: `apart.examine` where submissions come from strangers.
    One worker at a time: two would do the same work twice, and the second would find the first one's bundle there.
    """
    queue = waiting(board.shelf)
    if not queue:
        return None
    ticket = queue[0]
    data = board.shelf.get("incoming", f"{ticket.ticket}.zip") or b""
    try:
        examined = examine(board, data)
        with board.shelf.writing() as writer:
            board.accept_within(writer, examined, ticket.by)
            settled = _accepted(writer, ticket, examined.bundle)
    except Refusal as error:
        if error.code == "replayed" and not _settled_before(board.shelf, examined.bundle.digest):
            return _finished(board, ticket, examined)
        settled = _refused(board, ticket, str(error), error.code, error.status)
    except SuperbenchError as error:
        settled = _refused(board, ticket, str(error), "failed", 500)
    return settled


def _accepted(writer: Writing, ticket: Ticket, bundle: Bundle) -> Ticket:
    settled = replace(
        ticket, state="accepted", settled=now(), upstream=bundle.upstream, tasks=tuple(sorted(bundle.entries)),
        digest=bundle.digest, status=201,
    )  # fmt: skip
    _settle(writer, settled)
    return settled


def _settled_before(reader: Reading, digest: str) -> bool:
    """Did another ticket bring this bundle?"""
    names = [name.removesuffix(".json") for name in reader.names("incoming") if name.endswith(".json")]
    return any(one is not None and one.digest == digest for one in (look(reader, name) for name in names))


def _finished(board: Board, ticket: Ticket, examined: Examined) -> Ticket:
    """A folder has no transactions: a kill may come after the bundle's file and before the ticket's. If the bundle came in
    after this ticket, from the same hand, it is this ticket's."""
    with board.shelf.writing() as writer:
        own = [one for one in writer.held() if one.digest and examined.bundle.digest.startswith(one.digest)]
        if own and own[0].accepted > ticket.received and own[0].by == ticket.by:
            return _accepted(writer, ticket, examined.bundle)
    return _refused(board, ticket, f"This very bundle of {examined.bundle.upstream} is on the board already.", "replayed", 409)


def _refused(board: Board, ticket: Ticket, reason: str, code: str, status: int) -> Ticket:
    settled = replace(ticket, state="refused", settled=now(), reason=reason[:4000], code=code, status=status)
    with board.shelf.writing() as writer:
        _settle(writer, settled)
        writer.log(event(ticket.by, "refused", ticket.ticket, f"{code}: {reason}"[:2000]))
    return settled


def _settle(writer: Writing, ticket: Ticket) -> None:
    _put(writer, ticket)
    writer.drop("incoming", f"{ticket.ticket}.zip")


def _put(writer: Writing, ticket: Ticket) -> None:
    writer.put("incoming", f"{ticket.ticket}.json", json.dumps(asdict(ticket), ensure_ascii=False).encode())
