"""What a served board does with a submission: takes it in, scores it in the background, shows it. The web is not its business.

Two judges work beside it: one looks whether an upload is a bundle at all, the other scores, accepts and draws the page anew.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gzip
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superbench.board.board import Board
from superbench.board.server.fairness import Limits, SubmissionLimiter, next_in_turn
from superbench.board.server.worker_client import WorkerClient, WorkerFailed
from superbench.board.storage import incoming, leases, tokens
from superbench.board.storage.incoming import Submission
from superbench.errors import Conflict, Refusal, SuperbenchError, Unavailable

log = logging.getLogger("superbench.board")

OPENING_SECONDS, RENDERING_SECONDS = 60.0, 600.0
MOST_TRIES = 2
LOOKING_SECONDS = 3.0
"""Between two looks whether the board is still what was drawn."""


@dataclass(frozen=True, slots=True)
class Document:
    """Something to read: its bytes, the same compressed, a tag that changes when they do."""

    data: bytes
    packed: bytes
    tag: str

    @classmethod
    def of(cls, data: bytes) -> Document:
        """Compressed once, not for each reader."""
        return cls(data, gzip.compress(data, 6, mtime=0), f'"{hashlib.sha256(data).hexdigest()[:24]}"')


class SubmissionQueue:
    """The queue of one board, and what it shows."""

    def __init__(self, board: Board, limits: Limits) -> None:
        self.board, self.limits = board, limits
        self._limiter = SubmissionLimiter(limits)
        self.submissions: dict[str, Submission] = {}
        self.page = self.table = Document.of(b"")
        self.contents: Mapping[str, Any] = {"groups": []}
        self._opening_worker, self._scoring_worker = WorkerClient(board.storage.address), WorkerClient(board.storage.address)
        self._name = leases.name()
        self._scoring = ""
        """The submission that this server decides now: nobody else writes its state."""
        self._drawn: object = None
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._folder = Path(tempfile.mkdtemp(prefix="superbench-board-"))
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        self._entering, self._drawing = asyncio.Lock(), asyncio.Lock()

    async def open(self) -> None:
        """Find what an earlier server left undecided, draw the page, begin to work. Raises `SuperbenchError`."""
        self.submissions = {one.id: one for one in await asyncio.to_thread(incoming.all_of, self.board.storage)}
        self._limiter.remember(self.submissions.values())
        await self._draw()
        self._work.set()
        self._tasks = [asyncio.create_task(self._decide_all()), asyncio.create_task(self._stay_fresh())]

    async def close(self) -> None:
        """Stop at once; what is undecided stays in the queue."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(self._opening_worker.close(), self._scoring_worker.close())
        shutil.rmtree(self._folder, ignore_errors=True)

    # ------------------------------------------------------------ the limiter

    async def owner(self, secret: str | None) -> str:
        """Whose token it is; raises `NotAllowed`."""
        return await asyncio.to_thread(tokens.owner, self.board.storage, secret)

    async def withdraw(self, row: str, secret: str | None, why: str) -> list[str]:
        """Take a row off the board, and draw the page without it; returns the digests. Raises `NotAllowed`, `UnknownName`."""
        by = await asyncio.to_thread(tokens.admin, self.board.storage, secret)
        gone = await asyncio.to_thread(self.board.withdraw, row, by, why)
        await self._draw(self._opening_worker)
        return [one.digest for one in gone]

    def uploading(self, by: str) -> contextlib.AbstractContextManager[None]:
        """Inside, an upload of this token comes in. Raises `TooOften`."""
        return self._limiter.uploading(by, sum(one.pending for one in self.submissions.values() if one.by == by))

    def temporary(self) -> Path:
        """A place for an upload that is still coming."""
        handle, name = tempfile.mkstemp(dir=self._folder, suffix=".part")
        with open(handle, "wb"):
            return Path(name)

    async def enter(self, upload: Path, by: str) -> Submission:
        """Look whether it is a bundle that the board does not have, and queue it; it is on the disk when this returns.

        Raises a `Refusal`, `SuperbenchError` when the board cannot be written.
        """
        found = await self._request(self._opening_worker, "open", OPENING_SECONDS, path=str(upload))
        async with self._entering:
            held = await asyncio.to_thread(self.board.storage.bundles)
            waiting = {one.digest for one in self.submissions.values() if one.pending}
            if found["digest"] in waiting or any(one.digest and found["digest"].startswith(one.digest) for one in held):
                raise Conflict(
                    f"This very bundle of {found['upstream']} was submitted before; it is not taken twice.", "replayed"
                )
            size = upload.stat().st_size
            new = incoming.received(by, size, found["upstream"], tuple(found["tasks"]), found["digest"])
            await asyncio.to_thread(incoming.keep, self.board.storage, new, upload.read_bytes())
            self.submissions[new.id] = new
        self._work.set()
        return new

    async def refuse(self, subject: str, reason: Refusal, by: str) -> None:
        """Write a refusal into the board's log."""
        await asyncio.to_thread(self.board.refuse, subject, reason, by)

    async def find(self, identity: str) -> Submission | None:
        """A submission of the board, whichever of its servers received it."""
        known = self.submissions.get(identity)
        if known is None or (known.pending and identity != self._scoring):
            known = await asyncio.to_thread(incoming.read, self.board.storage, identity)
        return known

    async def look(self) -> None:
        """Learn what other servers of this board wrote about submissions."""
        ended = {one.id for one in self.submissions.values() if not one.pending}
        found = await asyncio.to_thread(incoming.all_of, self.board.storage)
        self.submissions |= {one.id: one for one in found if one.id not in ended | {self._scoring}}

    # ------------------------------------------------------------ the back office

    async def _stay_fresh(self) -> None:
        """Draw the page when another server, or the keeper, has changed what the board holds."""
        while True:
            await asyncio.sleep(LOOKING_SECONDS)
            try:
                if await asyncio.to_thread(self._state_of_board) != self._drawn:
                    await self._draw(self._opening_worker)
            except (SuperbenchError, OSError) as error:
                log.error("%s", error)

    def _state_of_board(self) -> object:
        """What a drawing of the board depends on."""
        storage = self.board.storage
        return [one.digest for one in storage.bundles()], storage.names("rulings"), storage.names("references")

    async def _decide_all(self) -> None:
        while True:
            known = self.submissions.values()
            chosen = next_in_turn([one for one in known if not one.pending or leases.is_free(one, self._name)])
            if chosen is None:
                await self._wait_for_work()
                continue
            try:
                leased = await asyncio.to_thread(leases.claim, self.board.storage, chosen, self._name)
                if leased is None:  # another server's by now
                    await self.look()
                    continue
                decided = await self._decide_leased(leased)
                await self._record(decided)
                if decided.state == "accepted":
                    await self._draw()
            except (SuperbenchError, OSError) as error:  # the disk is full, the database is away: later, perhaps
                log.error("%s", error)
                await asyncio.sleep(5)

    async def _wait_for_work(self) -> None:
        """Until something comes in, or another server of the board may have gone and left a submission."""
        self._work.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._work.wait(), leases.SECONDS)
        if not self._work.is_set():
            await self._log_failure(self.look())

    async def _decide_leased(self, one: Submission) -> Submission:
        """Decide it, and renew the lease meanwhile."""
        self._scoring = one.id
        renewing = asyncio.create_task(self._renew(one.id))
        try:
            return await self._decide(one)
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing
            self._scoring = ""

    async def _renew(self, identity: str) -> None:
        while True:
            await asyncio.sleep(leases.RENEWED)
            one = self.submissions[identity]
            await self._log_failure(asyncio.shield(asyncio.to_thread(leases.claim, self.board.storage, one, self._name)))

    async def _log_failure(self, work: Awaitable[object]) -> None:
        """Storage that is away now is asked again later."""
        try:
            await work
        except (SuperbenchError, OSError) as error:
            log.error("%s", error)

    async def _decide(self, one: Submission) -> Submission:
        """Score it and accept it; it may have been accepted by a server that was killed before it could say so."""
        again = one.state == "scoring"
        one = replace(one, state="scoring")
        await self._record(one)
        data = await asyncio.to_thread(incoming.data_of, self.board.storage, one)
        if data is None:
            return one.end("failed", 500, "lost", "The bundle's bytes are gone from the board's queue. Submit it again.")
        path = self._folder / f"{one.id}.zip"
        path.write_bytes(data)
        try:
            await self._request(self._scoring_worker, "score", self.limits.scoring_seconds, path=str(path), by=one.by)
            return one.end("accepted", 200)
        except Refusal as error:
            if error.code == "replayed" and (again or await self._accepted_elsewhere(one)):
                return one.end("accepted", 200)
            await self.refuse(one.digest, error, one.by)
            return one.end("refused", error.status, error.code, str(error))
        except Unavailable:
            raise
        except SuperbenchError as error:
            if one.tries + 1 < MOST_TRIES:
                return replace(one, state="queued", tries=one.tries + 1)
            log.error("%s: %s", one.id, error)
            return one.end("failed", 500, "failed", "The server could not score it; its keeper finds the reason in the log.")
        finally:
            path.unlink(missing_ok=True)

    async def _accepted_elsewhere(self, one: Submission) -> bool:
        """Did another server of this board accept this very submission?"""
        held = await asyncio.to_thread(self.board.storage.bundles)
        return any(it.by == one.by and it.accepted >= one.received and one.digest.startswith(it.digest or "-") for it in held)

    async def _record(self, one: Submission) -> None:
        await asyncio.to_thread(incoming.update, self.board.storage, one)
        self.submissions[one.id] = one
        old = sorted(key for key, it in self.submissions.items() if not it.pending)[: -incoming.KEPT or None]
        if old:
            await asyncio.to_thread(incoming.forget, self.board.storage, old)
            for key in old:
                del self.submissions[key]

    async def _draw(self, worker: WorkerClient | None = None) -> None:
        """The page and the table anew, one drawing after the other; readers keep the old ones until then."""
        async with self._drawing:
            stamp = await asyncio.to_thread(self._state_of_board)
            await self._request(worker or self._scoring_worker, "render", RENDERING_SECONDS, folder=str(self._folder))
            table = (self._folder / "board.json").read_bytes()
            self.page = await asyncio.to_thread(Document.of, (self._folder / "page.html").read_bytes())
            self.table = await asyncio.to_thread(Document.of, table)
            self.contents = json.loads(table)
            self._drawn = stamp

    async def _request(self, worker: WorkerClient, operation: str, seconds: float, **arguments: Any) -> dict[str, Any]:
        try:
            answer = await worker.request(operation, seconds, **arguments)
        except WorkerFailed as error:
            raise SuperbenchError(f"The process that scores ended before it answered ({error}).") from error
        if "refused" in answer:
            facts = answer["refused"]
            refusal = Refusal(facts["reason"], facts["code"])
            refusal.status = facts["status"]
            raise refusal
        if "away" in answer:
            raise Unavailable(answer["away"])
        if "failed" in answer:
            raise SuperbenchError(answer["failed"])
        return dict(answer["done"])
