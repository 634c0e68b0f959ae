"""The submission queue of a board's server: receives submissions, scores them in the background, draws the page again.

It uses two worker processes: one checks that an upload is a bundle; the other scores and accepts bundles and draws the page.
This module contains nothing about HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from superbench.board.acceptance import require_again
from superbench.board.board import Board
from superbench.board.server.drawn_page import DrawnPage
from superbench.board.server.fairness import Limits, SubmissionLimiter, next_in_turn
from superbench.board.server.scratch import ScratchFolder
from superbench.board.server.worker_client import WorkerClient
from superbench.board.storage import incoming, leases, tokens
from superbench.board.storage.base import StoredBundle
from superbench.board.storage.incoming import Submission
from superbench.errors import Conflict, Refusal, SuperbenchError, Unavailable

log = logging.getLogger("superbench.board")

OPENING_SECONDS = 60.0
MOST_TRIES = 2
LOOKING_SECONDS = 3.0
"""Time between two checks whether the board has changed since its page was drawn."""


class SubmissionQueue:
    """The submission queue of one board, its workers, and the documents that readers get."""

    def __init__(self, board: Board, limits: Limits) -> None:
        self.board, self.limits = board, limits
        self._limiter = SubmissionLimiter(limits)
        self.submissions: dict[str, Submission] = {}
        self._opening_worker, self._scoring_worker = WorkerClient(board.storage.address), WorkerClient(board.storage.address)
        self._name = leases.name()
        self._scoring = ""
        """The id of the submission that this server decides now: no other server writes its state."""
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._scratch = ScratchFolder()
        self._entering = asyncio.Lock()
        self.shown = DrawnPage(board.storage, self._scratch.path)

    async def open(self) -> None:
        """Reads the stored submissions, draws the page, starts the background tasks. Raises `SuperbenchError`."""
        stored = await asyncio.to_thread(incoming.all_of, self.board.storage)
        self.submissions = {submission.id: submission for submission in stored}
        self._limiter.remember(self.submissions.values())
        await self.shown.update(self._scoring_worker)
        self._work.set()
        self._tasks = [asyncio.create_task(self._decide_all()), asyncio.create_task(self._redraw_after_changes())]

    async def close(self) -> None:
        """Stops at once; undecided submissions stay in the queue."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(self._opening_worker.close(), self._scoring_worker.close())
        self._scratch.remove()

    # ------------------------------------------------------------ requests

    async def owner(self, secret: str | None) -> str:
        """Returns the name of a token that may submit; raises `NotAllowed`."""
        return await asyncio.to_thread(tokens.owner, self.board.storage, secret)

    async def member(self, secret: str | None, least: tokens.Role = "reader") -> tokens.Token:
        """Returns the record of a token with this role or one above it; raises `NotAllowed`."""
        return await asyncio.to_thread(tokens.with_role, self.board.storage, secret, least)

    async def change(self, change: Callable[[], Sequence[StoredBundle]]) -> list[StoredBundle]:
        """Changes a row and draws the page again; returns its bundles, with their new names and owners."""
        changed = await asyncio.to_thread(change)
        await self.shown.update(self._opening_worker)
        return list(changed)

    def uploading(self, by: str) -> contextlib.AbstractContextManager[None]:
        """Counts an upload of this token while it is received. Raises `TooOften`."""
        own = [submission for submission in self.submissions.values() if submission.by == by]
        return self._limiter.uploading(by, sum(submission.pending for submission in own))

    def temporary(self) -> Path:
        """Creates a file for an upload and returns its path."""
        handle, name = tempfile.mkstemp(dir=self._scratch.path, suffix=".part")
        with open(handle, "wb"):
            return Path(name)

    async def enter(self, upload: Path, by: str, secret: str, *, hidden: bool = False) -> Submission:
        """Checks that an upload is a new bundle and adds it to the queue; it is on the disk when this returns.

        `secret` is the token with which it was sent; `hidden`: its sender asked to hide the row.

        Raises a `Refusal`; `SuperbenchError` if the board cannot be written.
        """
        facts = await self._opening_worker.ask("open", OPENING_SECONDS, path=str(upload))
        async with self._entering:
            accepted = await asyncio.to_thread(self.board.storage.bundles)
            self._require_new(facts["upstream"], facts["digest"], accepted)
            size = upload.stat().st_size
            new = incoming.received(
                by, size, facts["upstream"], tuple(facts["tasks"]), facts["digest"], tokens.digest_of(secret), hidden=hidden
            )
            await asyncio.to_thread(incoming.keep, self.board.storage, new, upload.read_bytes())
            self.submissions[new.id] = new
        self._work.set()
        return new

    def _require_new(self, upstream: str, digest: str, accepted: Sequence[StoredBundle]) -> None:
        """Raises `Conflict` for a bundle that waits in the queue, was withdrawn, or is on the board."""
        if any(submission.pending and submission.digest == digest for submission in self.submissions.values()):
            raise Conflict(f"The same bundle of {upstream} waits to be scored already.", "waiting")
        same = next((stored for stored in accepted if stored.digest and digest.startswith(stored.digest)), None)
        if same is not None:  # the digest of a stored bundle may be shortened
            require_again(self.board.storage, upstream, same, again=False)

    async def refuse(self, subject: str, reason: Refusal, by: str) -> None:
        """Writes a refusal into the board's log."""
        await asyncio.to_thread(self.board.refuse, subject, reason, by)

    async def find(self, identity: str) -> Submission | None:
        """Returns a submission of the board, also one that another server received; None if there is none."""
        known = self.submissions.get(identity)
        if known is None or (known.pending and identity != self._scoring):
            known = await asyncio.to_thread(incoming.read, self.board.storage, identity)
            await self._learn([known] if known else [])
        return known

    async def reload(self) -> None:
        """Reads the states of submissions that other servers of this board wrote."""
        await self._learn(await asyncio.to_thread(incoming.all_of, self.board.storage))

    async def _learn(self, stored: Sequence[Submission]) -> None:
        """Takes over states from the storage; the page shows what another server accepted before its sender reads so."""
        accepted = {submission.id for submission in stored if submission.state == "accepted"}
        if accepted - {submission.id for submission in self.submissions.values() if not submission.pending}:
            await self._log_failure(self.shown.update(self._opening_worker))
        kept = {submission.id for submission in self.submissions.values() if not submission.pending} | {self._scoring}
        self.submissions |= {submission.id: submission for submission in stored if submission.id not in kept}

    # ------------------------------------------------------------ background tasks

    async def _redraw_after_changes(self) -> None:
        """Draws the page again when another server or the keeper has changed the board."""
        while True:
            await asyncio.sleep(LOOKING_SECONDS)
            await self._log_failure(self.shown.update(self._opening_worker))

    async def _decide_all(self) -> None:
        while True:
            known = self.submissions.values()
            candidates = [entry for entry in known if not entry.pending or leases.is_free(entry, self._name)]
            chosen = next_in_turn(candidates)
            if chosen is None:
                await self._wait_for_work()
                continue
            try:
                leased = await asyncio.to_thread(leases.claim, self.board.storage, chosen, self._name)
                if leased is None:  # another server has taken it
                    await self.reload()
                    continue
                decided = await self._decide_leased(leased)
                await self._record(decided)
            except (SuperbenchError, OSError) as error:  # a full disk or an unreachable database: try again later
                log.error("%s", error)
                await asyncio.sleep(5)

    async def _wait_for_work(self) -> None:
        """Waits for a new submission, or until the lease of a server that has ended may have expired."""
        self._work.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._work.wait(), leases.SECONDS)
        if not self._work.is_set():
            await self._log_failure(self.reload())

    async def _decide_leased(self, submission: Submission) -> Submission:
        """Decides a submission and renews its lease at the same time."""
        self._scoring = submission.id
        renewing = asyncio.create_task(self._renew(submission.id))
        try:
            decided = await self._decide(submission)
            if decided.state == "accepted":  # the page shows it before its sender reads so
                await self._log_failure(self.shown.update(self._scoring_worker))
            return decided
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing
            self._scoring = ""

    async def _renew(self, identity: str) -> None:
        while True:
            await asyncio.sleep(leases.RENEWED)
            submission = self.submissions[identity]
            claim = asyncio.to_thread(leases.claim, self.board.storage, submission, self._name)
            await self._log_failure(asyncio.shield(claim))

    async def _log_failure(self, work: Awaitable[object]) -> None:
        """Awaits `work` and logs its error: the next attempt follows later."""
        try:
            await work
        except (SuperbenchError, OSError) as error:
            log.error("%s", error)

    async def _decide(self, submission: Submission) -> Submission:
        """Scores a submission and accepts it.

        It may be accepted already, by a server that was killed before it stored the decision.
        """
        again = submission.state == "scoring"
        submission = replace(submission, state="scoring")
        await self._record(submission)
        data = await asyncio.to_thread(incoming.data_of, self.board.storage, submission)
        if data is None:
            return submission.end(
                "failed", 500, "lost", "The bundle's bytes are missing from the board's queue. Submit it again."
            )
        path = self._scratch.path / f"{submission.id}.zip"
        path.write_bytes(data)
        try:
            if not again:  # the worker checks it once more, in the same write that accepts the bundle
                await asyncio.to_thread(tokens.require_valid, self.board.storage, submission.token)
            await self._scoring_worker.ask(
                "score", self.limits.scoring_seconds, path=str(path), by=submission.by, token=submission.token,
                hidden=submission.hidden,
            )  # fmt: skip
            return submission.end("accepted", 200)
        except Refusal as error:
            if error.code == "replayed" and (again or await self._accepted_elsewhere(submission)):
                return submission.end("accepted", 200)
            await self.refuse(submission.digest, error, submission.by)
            return submission.end("refused", error.status, error.code, str(error))
        except Unavailable:
            raise
        except SuperbenchError as error:
            if submission.tries + 1 < MOST_TRIES:
                return replace(submission, state="queued", tries=submission.tries + 1)
            log.error("%s: %s", submission.id, error)
            return submission.end(
                "failed", 500, "failed", "The server could not score it; the board's keeper finds the reason in the log."
            )
        finally:
            path.unlink(missing_ok=True)

    async def _accepted_elsewhere(self, submission: Submission) -> bool:
        """Returns whether another server of this board has accepted this same submission."""
        bundles = await asyncio.to_thread(self.board.storage.bundles)
        same = [stored for stored in bundles if stored.by == submission.by and stored.accepted >= submission.received]
        return any(submission.digest.startswith(stored.digest or "-") for stored in same)

    async def _record(self, submission: Submission) -> None:
        await asyncio.to_thread(incoming.update, self.board.storage, submission)
        self.submissions[submission.id] = submission
        old = sorted(key for key, entry in self.submissions.items() if not entry.pending)[: -incoming.KEPT or None]
        if old:
            await asyncio.to_thread(incoming.forget, self.board.storage, old)
            for key in old:
                del self.submissions[key]
