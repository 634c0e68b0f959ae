"""Records of jobs and their ends, and the protocol of objects that watch a run."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from superbench.features.store import Store
from superbench.plugins import Spec
from superbench.results import Result
from superbench.runs.options import Options
from superbench.system.cores import share
from superbench.system.locks import held

LOCK = ".lock"
"""File name of the lock that a process holds while it works on a job."""
EVENTS = "events"
"""The folder beside a result for the files of a tracker."""


def folder(out: Path, spec: Spec, task: str, options: Options) -> Path:
    """Returns the folder of a job: `OUT/<upstream>/<task>`, or its subfolder `few-shot` or `in-context` for these protocols."""
    return out / spec.folder / task / options.subfolder


THREADS = 1
"""Threads of a worker. The number is the same for any number of workers, because sums depend on it in their last digits."""

State = Literal["done", "found", "failed", "absent"]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All settings of a worker; it is sent to worker processes. `devices`: those that the workers of a machine share, `beside`:
    their number. `readers`: threads that decode sound. `run`: a name of this run, different for each. `node_store`: without a
    shared file system, the store of every node (empty: in its cache folder)."""

    data: Path
    settings: Path | None
    out: Path
    store: Path
    budget: int | None
    options: Options
    lenient: bool
    devices: tuple[str, ...]
    debug: bool
    threads: int = THREADS
    node_store: str | None = None
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    readers: int | None = None
    beside: int = 1
    track: str | None = None

    def open_store(self) -> Store:
        """Opens the store; by default, the workers of this machine share its cores for decoding."""
        return Store(self.store, self.budget, self.run, self.readers or share(self.beside))

    def absolute(self) -> RunPlan:
        """Returns the plan with absolute paths, for workers in another working directory."""
        settings = self.settings.absolute() if self.settings else None
        return replace(self, data=self.data.absolute(), out=self.out.absolute(), store=self.store.absolute(), settings=settings)


@dataclass(frozen=True, slots=True)
class Job:
    """One task on one upstream. `file`: `/path/file.py:NAME` of a task that is not installed; empty for others."""

    spec: Spec
    task: str
    file: str = ""

    def __str__(self) -> str:
        return f"{self.spec.alias} · {self.task}"


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a job: a result, or a message. Seconds of sound: all sound of the job, and the part that passed through the
    model."""

    job: Job
    state: State
    result: Result | None = None
    message: str = ""
    sound_seconds: float = 0.0
    passed_seconds: float = 0.0


def taken(waiting: list[Job], plan: RunPlan) -> Job:
    """Removes from `waiting`, and returns, the first job on which no other process works; if there is none, the first
    job, which then waits for the other process."""
    free = (i for i, job in enumerate(waiting) if not held(folder(plan.out, job.spec, job.task, plan.options) / LOCK))
    return waiting.pop(next(free, 0))


class Watcher(Protocol):
    """Receives the events of a run: jobs that are planned, start, advance, have remarks and end."""

    def planned(self, shares: Mapping[Job, float]) -> None:
        """Receives all jobs, each with an estimate of its share of the work."""

    def started(self, job: Job) -> None:
        """Is called when a worker starts the job."""

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        """Is called when `done` of `total` units of a stage are finished."""

    def note(self, job: Job, text: str) -> None:
        """Receives a remark for the user."""

    def ended(self, ended: Ended) -> None:
        """Is called when the job has ended."""


@runtime_checkable
class Announced(Protocol):
    """A watcher that also receives, before any job, lines on what the run will do."""

    def announced(self, lines: Sequence[str]) -> None:
        """Receives the lines."""


class NoWatcher:
    """A watcher that ignores all events."""

    def planned(self, shares: Mapping[Job, float]) -> None:
        """Does nothing."""

    def started(self, job: Job) -> None:
        """Does nothing."""

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        """Does nothing."""

    def note(self, job: Job, text: str) -> None:
        """Does nothing."""

    def ended(self, ended: Ended) -> None:
        """Does nothing."""
