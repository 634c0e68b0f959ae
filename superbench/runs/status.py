"""The status of runs: which job runs where, how far it is, and when all will be done.

Each run writes `OUT/.status/<host>-<pid>.json` about once a second; `status` reads the files of all runs that write to OUT.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from superbench.errors import CommandError
from superbench.runs.jobs import Announced, Ended, Job, Watcher
from superbench.runs.pace import Pace
from superbench.system.files import write_text

FOLDER = ".status"
ENDS = ("done", "found", "failed", "absent")
INTERVAL = 1.0
"""Seconds between two writes of a status."""
SILENT = 30.0
"""A run whose status is older (seconds) has ended, or its machine does not answer."""


@dataclass(slots=True)
class JobStatus:
    """The status of one job.

    `state`: waiting, running, stopped (its run ended before it), or how it ended (done, found, failed, absent). `stage`,
    `finished` and `total`: what it does now, and how much of it is done (seconds of sound for `extract`). `seconds`: from its
    start until now, or until its end.
    """

    upstream: str
    task: str
    state: str = "waiting"
    stage: str = ""
    finished: float = 0.0
    total: float = 0.0
    seconds: float = 0.0
    score: str = ""
    message: str = ""


@dataclass(slots=True)
class RunStatus:
    """The status of a run: where and since when it runs (Unix time), its jobs, seconds of sound per second of extraction now,
    and the seconds that remain (None: not known yet). `over`: the run has ended. `run`: its name, which its tasks on other
    machines share. `detached`: its command has ended, and its tasks wait or run."""

    host: str
    process: int
    engine: str
    began: float
    updated: float = 0.0
    over: bool = False
    remaining: float | None = None
    speed: float | None = None
    jobs: list[JobStatus] = field(default_factory=list)
    run: str = ""
    detached: bool = False

    def alive(self, now: float) -> bool:
        """Returns whether the run has not ended: it has written its status in the last seconds, or its tasks wait."""
        return not self.over and (self.detached or now - self.updated < SILENT)


class StatusWatcher:
    """A `Watcher` that writes the status of a run, and calls another watcher."""

    def __init__(self, watcher: Watcher, out: Path, engine: str, clock: Callable[[], float] = time.time) -> None:
        self.watcher, self.clock, self.pace = watcher, clock, Pace(clock)
        self.status = RunStatus(platform.node(), os.getpid(), engine, clock())
        self.path = out / FOLDER / f"{platform.node()}-{os.getpid()}.json"
        self._jobs: dict[Job, JobStatus] = {}
        self._began: dict[Job, float] = {}
        self._extracted: dict[Job, tuple[float, float]] = {}

    def belongs_to(self, run: str, *, part: str = "", detached: bool = False) -> None:
        """Sets the name of the run, and whether its tasks go on when the command has ended. `part`: appended to the name of the
        file, if this is the status of a part of the run."""
        self.status.run, self.status.detached = run, detached
        self.path = self.path.with_name(f"{self.path.stem}{part}.json")

    def announced(self, lines: Sequence[str]) -> None:
        """Passes the lines on to a watcher that shows them."""
        if isinstance(self.watcher, Announced):
            self.watcher.announced(lines)

    def planned(self, shares: Mapping[Job, float]) -> None:
        """Receives the jobs of the run."""
        self.pace.planned(shares)
        self._jobs = {job: JobStatus(job.spec.alias, job.task) for job in shares}
        self.status.jobs = list(self._jobs.values())
        self.watcher.planned(shares)
        self._write(always=True)

    def started(self, job: Job) -> None:
        """Records the start of a job."""
        self.pace.started(job)
        self._began[job] = self.clock()
        self._jobs[job].state = "running"
        self.watcher.started(job)
        self._write()

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        """Records how far a job is."""
        entry, now = self._jobs[job], self.clock()
        entry.stage, entry.finished, entry.total, entry.seconds = stage, done, total, now - self._began.get(job, now)
        if stage == "extract":
            self._extracted.setdefault(job, (now, done))
        self.watcher.advance(job, stage, done, total)
        self._write()

    def note(self, job: Job, text: str) -> None:
        """Passes a remark on."""
        self.watcher.note(job, text)

    def ended(self, ended: Ended) -> None:
        """Records the end of a job."""
        self.pace.ended(ended)
        entry = self._jobs.setdefault(ended.job, JobStatus(ended.job.spec.alias, ended.job.task))
        now = self.clock()
        entry.state, entry.seconds, entry.message = ended.state, now - self._began.get(ended.job, now), ended.message
        if ended.result is not None:
            entry.score = f"{ended.result.primary} {ended.result.scores[ended.result.primary].value:.2f}"
        self.watcher.ended(ended)
        self._write(always=True)

    def seconds(self, job: Job) -> float:
        """Returns the seconds from the start of a job until its end."""
        return self._jobs[job].seconds

    def close(self) -> None:
        """Records that the run has ended, unless its tasks go on."""
        self.status.over = not self.status.detached
        self._write(always=True)

    def _write(self, *, always: bool = False) -> None:
        now = self.clock()
        if not always and now - self.status.updated < INTERVAL:
            return
        self.status.updated, self.status.remaining, self.status.speed = now, self.pace.remaining(), self._speed(now)
        with contextlib.suppress(OSError):  # a full disk must not stop the run
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, json.dumps(asdict(self.status)))

    def _speed(self, now: float) -> float | None:
        """Returns the seconds of sound per second of all jobs that extract now."""
        running = [
            (job, *start)
            for job, start in self._extracted.items()
            if self._jobs[job].stage == "extract" and self._jobs[job].state == "running"
        ]
        speeds = [(self._jobs[job].finished - done) / (now - since) for job, since, done in running if now > since]
        return sum(speeds) if speeds else None


def status(out: Path | str) -> list[RunStatus]:
    """Returns the status of every run that writes, or wrote, to the folder `out`, the earliest first.

    Raises `CommandError` if no run has written there.
    """
    folder = Path(out) / FOLDER
    if not folder.is_dir():
        raise CommandError(f"{out} has no status of a run. `superbench run … --out {out}` writes it when it starts.")
    runs = []
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            content["jobs"] = [JobStatus(**job) for job in content["jobs"]]
            runs.append(RunStatus(**content))
    whole, now = sorted(_whole(runs), key=lambda run: run.began), time.time()
    for job in (job for run in whole if not run.alive(now) for job in run.jobs if job.state == "running"):
        job.state = "stopped"
    return whole


def _whole(runs: Iterable[RunStatus]) -> Iterator[RunStatus]:
    """Yields one status for each run: that of its command, with the jobs as its tasks on other machines report them."""
    by_name: dict[str, list[RunStatus]] = {}
    for run in runs:
        by_name.setdefault(run.run or f"{run.host}-{run.process}", []).append(run)
    for parts in by_name.values():
        first, *tasks = sorted(parts, key=lambda run: run.began)
        reported = {(job.upstream, job.task): job for task in sorted(tasks, key=lambda run: run.updated) for job in task.jobs}
        for number, job in enumerate(first.jobs):
            other = reported.get((job.upstream, job.task), job)
            first.jobs[number] = job if job.state in ENDS and other.state not in ENDS else other
        if tasks:
            first.updated = max(run.updated for run in parts)
            speeds = [task.speed for task in tasks if task.speed and not task.over]
            first.speed = sum(speeds) if speeds else first.speed
        first.over = first.over or (first.detached and all(job.state in ENDS for job in first.jobs))
        yield first
