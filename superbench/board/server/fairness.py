"""Who may send another bundle now, and whose bundle is scored next: rules that keep one submitter from starving the others."""

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
    """More submissions than a token may send; `after` is when to come again, in seconds."""

    status = 429

    def __init__(self, message: str, code: str, after: int) -> None:
        super().__init__(message, code)
        self.after = after


@dataclass(frozen=True, slots=True)
class Limits:
    """What a token may send: bytes of one bundle, uploads in an hour (refused ones count), submissions that wait at once; and
    how many uploads the server takes at once, of one token and of all. `chunk_seconds`: how long an upload may pause;
    `bytes_a_second`: how slow it may be, beyond a first half minute."""

    bytes: int = 300_000_000
    hourly: int = 20
    waiting: int = 5
    scoring_seconds: float = 900.0
    uploads: int = 2
    all_uploads: int = 16
    chunk_seconds: float = 20.0
    bytes_a_second: float = 50_000.0

    def upload_seconds(self, size: int) -> float:
        """Within which an upload of so many bytes must have come."""
        return 30.0 + size / self.bytes_a_second


class SubmissionLimiter:
    """Counts uploads by token: within the hour, and in flight."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._began: dict[str, list[float]] = defaultdict(list)
        self._flying: Counter[str] = Counter()

    def remember(self, submissions: Collection[Submission]) -> None:
        """What an earlier server received counts as well."""
        for one in submissions:
            self._began[one.by].append(_seconds(one.received))

    @contextlib.contextmanager
    def uploading(self, by: str, waiting: int) -> Iterator[None]:
        """Inside, an upload of the token `by` comes in, of which `waiting` others are undecided. Raises `TooOften`."""
        self._admit(by, waiting)
        self._began[by].append(time.time())
        self._flying[by] += 1
        try:
            yield
        finally:
            self._flying[by] -= 1

    def _admit(self, by: str, waiting: int) -> None:
        limits, flying = self.limits, self._flying[by]
        if waiting + flying >= limits.waiting:
            raise TooOften(
                f"{waiting + flying} submissions of yours wait to be scored. Send the next one when they are done.",
                "waiting",
                30,
            )
        if flying >= limits.uploads:
            raise TooOften(f"{flying} uploads of yours are under way. Send the next one when they are done.", "uploads", 10)
        if self._flying.total() >= limits.all_uploads:
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
    """The oldest submission of whoever has waited longest for a decision: a second one waits for everybody's first."""
    last: dict[str, str] = defaultdict(str)
    for one in submissions:
        last[one.by] = max(last[one.by], one.ended)
    waiting = [one for one in submissions if one.pending]
    return min(waiting, key=lambda one: (last[one.by], one.id), default=None)


def _seconds(moment: str) -> float:
    """A time as `storage.now` writes it, in seconds."""
    return float(calendar.timegm(time.strptime(moment.partition(".")[0], "%Y%m%dT%H%M%S")))
