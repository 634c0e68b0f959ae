"""Limits for each token, and the order of scoring: no submitter can block the others."""

from __future__ import annotations

import calendar
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from superbench.board.storage.incoming import Submission
from superbench.errors import Refusal

HOUR = 3600.0


class TooOften(Refusal):
    """A token has sent too many submissions; `after` is the time to wait, in seconds."""

    status = 429

    def __init__(self, message: str, code: str, after: int) -> None:
        super().__init__(message, code)
        self.after = after


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a server.

    Of a token: `bytes` of one bundle, `hourly` uploads (refused ones count), `waiting` undecided submissions, `uploads` at the
    same time. Of all tokens: `all_uploads` at the same time. Of one upload: `chunk_seconds`, the longest pause, and
    `bytes_a_second`, the least speed after the first 30 seconds. Of one bundle: `scoring_seconds`.
    """

    bytes: int = 300_000_000
    hourly: int = 20
    waiting: int = 5
    scoring_seconds: float = 900.0
    uploads: int = 2
    all_uploads: int = 16
    chunk_seconds: float = 20.0
    bytes_a_second: float = 50_000.0

    def upload_seconds(self, size: int) -> float:
        """Returns the time within which an upload of `size` bytes must be complete."""
        return 30.0 + size / self.bytes_a_second


class SubmissionLimiter:
    """Counts the uploads of each token, within the last hour and at present, and refuses those beyond the limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._began: dict[str, list[float]] = defaultdict(list)
        self._uploading: Counter[str] = Counter()

    def remember(self, submissions: Collection[Submission]) -> None:
        """Counts submissions that an earlier process of the server received."""
        for submission in submissions:
            self._began[submission.by].append(_seconds(submission.received))

    @contextlib.contextmanager
    def uploading(self, by: str, waiting: int) -> Iterator[None]:
        """Counts an upload of the token `by` while it is received; `waiting` of its submissions are undecided.

        Raises `TooOften`.
        """
        self._admit(by, waiting)
        self._began[by].append(time.time())
        self._uploading[by] += 1
        try:
            yield
        finally:
            self._uploading[by] -= 1

    def _admit(self, by: str, waiting: int) -> None:
        limits, uploads = self.limits, self._uploading[by]
        if waiting + uploads >= limits.waiting:
            raise TooOften(
                f"{waiting + uploads} submissions of yours wait to be scored. Send the next one when they are done.",
                "waiting",
                30,
            )
        if uploads >= limits.uploads:
            raise TooOften(f"{uploads} uploads of yours are under way. Send the next one when they are done.", "uploads", 10)
        if self._uploading.total() >= limits.all_uploads:
            raise TooOften(f"{limits.all_uploads} uploads of others are under way. Send this one again soon.", "busy", 10)
        now = time.time()
        recent = self._began[by] = [began for began in self._began[by] if now - began < HOUR]
        if len(recent) >= limits.hourly:
            after = round(HOUR - (now - sorted(recent)[-limits.hourly])) + 1
            raise TooOften(
                f"{len(recent)} uploads of yours within the hour; {limits.hourly} are allowed, and refused ones count.",
                "rate", after,
            )  # fmt: skip


def next_in_turn(submissions: Collection[Submission]) -> Submission | None:
    """Returns the oldest submission of the token that has waited longest for a decision; None if all are decided.

    A token's second submission therefore waits for the first submissions of all other tokens.
    """
    last: dict[str, str] = defaultdict(str)
    for submission in submissions:
        last[submission.by] = max(last[submission.by], submission.ended)
    waiting = [submission for submission in submissions if submission.pending]
    return min(waiting, key=lambda submission: (last[submission.by], submission.id), default=None)


def _seconds(moment: str) -> float:
    """Parses a time that `base.now` wrote; returns seconds."""
    return float(calendar.timegm(time.strptime(moment.partition(".")[0], "%Y%m%dT%H%M%S")))
