"""Estimates the remaining time of a run from the durations of its finished jobs, and of jobs of earlier runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import mean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from superbench.plugins import Spec
    from superbench.runs.jobs import Ended, Job

LEAST = 0.05
"""The smallest share of a job, relative to the mean share: a job without training also reads, extracts and scores."""


OVERRUN = 0.5
"""A job that takes longer than expected is expected to need half of the time again that it has taken so far."""


class Work(dict["Job", float]):
    """Jobs with their approximate shares of the work, in any unit.

    `seconds`: expected durations of jobs whose task was done before on the same kind of upstream. `guesses`: expected durations
    of the others, from their shares and the pace of all jobs that were done before; empty if there were none. `at_once`: how
    many jobs will run at once.
    """

    def __init__(self, shares: Mapping[Job, float], at_once: int = 1) -> None:
        super().__init__(shares)
        self.at_once = max(min(at_once, len(shares)), 1)
        self.seconds: dict[Job, float] = {}
        self.guesses: dict[Job, float] = {}


class Pace:
    """Records when jobs are planned, start and end, and estimates the time of the remaining jobs.

    A task is expected to take as long as it took in this run for an upstream of the same kind; or else as in earlier runs, as
    kept in the store, times the ratio of the durations of this run to those of earlier ones; or else as in this run for any
    upstream. A task that was done nowhere is expected to take its share of the work, at the pace of all jobs done before or
    so far. Jobs whose result existed, whose corpus is absent or that failed do not count and need no more time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._shares: dict[Job, float] = {}
        self._began: dict[Job, float] = {}
        self._seconds: dict[Job, float] = {}
        self._over: set[Job] = set()
        self._absent: set[str] = set()
        self._at_once = 1
        self._before: dict[Job, float] = {}
        self._guesses: dict[Job, float] = {}

    def planned(self, shares: Mapping[Job, float]) -> None:
        """Set all jobs, each with its approximate share of the work, in any unit; `Work` also tells what is known of them."""
        if isinstance(shares, Work):
            self._before, self._guesses, self._at_once = shares.seconds, shares.guesses, shares.at_once
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
        """Return the seconds until the last job ends; None as long as no job is done, in this run or an earlier one."""
        if not self._seconds and not self._before and not self._guesses:
            return None
        now = self.clock()
        left = [self._left(job, now) for job in self._shares.keys() - self._over if job.task not in self._absent]
        return max(sum(left) / self._at_once, max(left, default=0.0))

    def _left(self, job: Job, now: float) -> float:
        taken = now - self._began.get(job, now)
        left = self._expected(job) - taken
        return left if left >= 0 else OVERRUN * taken

    def _expected(self, job: Job) -> float:
        of_task = {other: seconds for other, seconds in self._seconds.items() if other.task == job.task}
        kind = kind_of(job.spec)
        if of_kind := [seconds for other, seconds in of_task.items() if kind_of(other.spec) == kind]:
            return mean(of_kind)
        if job in self._before:
            return self._before[job] * self._drift()
        if of_task:
            return mean(of_task.values())
        if job in self._guesses:
            return self._guesses[job] * self._drift()
        pace = sum(self._seconds.values()) / sum(self._shares[other] for other in self._seconds)
        return self._shares[job] * pace

    def _drift(self) -> float:
        """Return the duration of the jobs done so far, relative to what was expected of them; 1 if nothing is known."""
        expected = {job: self._before.get(job, self._guesses.get(job, 0.0)) for job in self._seconds}
        known = sum(expected.values())
        return sum(seconds for job, seconds in self._seconds.items() if expected[job]) / known if known else 1.0


def kind_of(spec: Spec) -> str:
    """Returns the name of an upstream's architecture: without alias, weights and seed.

    >>> from superbench.plugins import parse
    >>> kind_of(parse("mine=apc:base,untrained,seed=3")), kind_of(parse("apc@demo/apc.safetensors"))
    ('apc:base,untrained', 'apc')
    """
    options = ",".join(option for option in spec.options if not option.startswith("seed="))
    return f"{spec.hub}/{spec.name}" if spec.hub else spec.name + (f":{options}" if options else "")
