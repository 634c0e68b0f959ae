"""Estimates the remaining time of a run from the duration of its finished jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import mean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from superbench.runs.jobs import Ended, Job

LEAST = 0.05
"""The smallest share of a job, relative to the mean share: a job without training also reads, extracts and scores."""


class Pace:
    """Records when jobs are planned, start and end, and estimates the time of the remaining jobs.

    A task that is done for one upstream is expected to take the same time for the next. A task that is not done yet is expected
    to take its share of the work, at the pace of all jobs done so far. Jobs whose result existed, whose corpus is absent or
    that failed do not count for the pace and need no more time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._shares: dict[Job, float] = {}
        self._began: dict[Job, float] = {}
        self._seconds: dict[Job, float] = {}
        self._over: set[Job] = set()
        self._absent: set[str] = set()
        self._at_once = 1

    def planned(self, shares: Mapping[Job, float]) -> None:
        """Set all jobs, each with its approximate share of the work, in any unit."""
        least = LEAST * mean(shares.values()) if shares else 0.0
        self._shares = {job: max(share, least) or 1.0 for job, share in shares.items()}

    def started(self, job: Job) -> None:
        """Record that a worker has started the job."""
        self._began[job] = self.clock()
        self._at_once = max(self._at_once, len(self._began.keys() - self._over))

    def ended(self, ended: Ended) -> float:
        """Record that the job has ended; return the seconds that it took."""
        now = self.clock()
        spent = now - self._began.get(ended.job, now)
        self._over.add(ended.job)
        if ended.state == "done":
            self._seconds[ended.job] = spent
        if ended.state == "absent":
            self._absent.add(ended.job.task)
        return spent

    def remaining(self) -> float | None:
        """Return the seconds until the last job ends; None as long as no job is done."""
        if not self._seconds:
            return None
        now = self.clock()
        left = [
            max(self._expected(job) - (now - self._began.get(job, now)), 0.0)
            for job in self._shares.keys() - self._over
            if job.task not in self._absent
        ]
        return max(sum(left) / self._at_once, max(left, default=0.0))

    def _expected(self, job: Job) -> float:
        if of_task := [seconds for other, seconds in self._seconds.items() if other.task == job.task]:
            return mean(of_task)
        pace = sum(self._seconds.values()) / sum(self._shares[other] for other in self._seconds)
        return self._shares[job] * pace
