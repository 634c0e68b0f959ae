"""A job, how it ends, and who watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from superbench.plugins import Spec
from superbench.results import Result
from superbench.runs.options import Options
from superbench.system.locks import held

LOCK = ".lock"
"""Held by the process that has a job in hand."""


def folder(out: Path, spec: Spec, task: str, options: Options) -> Path:
    """`OUT/<upstream>/<task>`, and below it `few-shot` or `in-context` for results of these protocols."""
    return out / spec.folder / task / options.subfolder


State = Literal["done", "found", "failed", "absent"]


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything that a worker needs to know; crosses process borders."""

    data: Path
    settings: Path | None
    out: Path
    store: Path
    budget: int | None
    options: Options
    lenient: bool
    threads: int
    debug: bool


@dataclass(frozen=True, slots=True)
class Job:
    """One task on one upstream."""

    spec: Spec
    task: str

    def __str__(self) -> str:
        return f"{self.spec.alias} · {self.task}"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended: a result, or a message. Seconds are of sound: what the job read of, and what passed the model for it."""

    job: Job
    state: State
    result: Result | None = None
    message: str = ""
    sound_seconds: float = 0.0
    passed_seconds: float = 0.0


def taken(waiting: list[Job], plan: RunPlan) -> Job:
    """Take out of `waiting` the first job that no process has in hand; where all are, the first, to wait for its result."""
    free = (i for i, job in enumerate(waiting) if not held(folder(plan.out, job.spec, job.task, plan.options) / LOCK))
    return waiting.pop(next(free, 0))


class Watcher(Protocol):
    """Sees the run as a whole: jobs that start, advance, remark and end."""

    def planned(self, shares: Mapping[Job, float]) -> None:
        """All jobs, each with a rough share of the work."""

    def started(self, job: Job) -> None:
        """A worker took the job."""

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        """`done` of `total` units of a stage are finished."""

    def note(self, job: Job, text: str) -> None:
        """A remark that a person should see."""

    def ended(self, ended: Ended) -> None:
        """The job is over."""


class Nobody:
    """A watcher that looks away."""

    def planned(self, shares: Mapping[Job, float]) -> None:
        """Nothing."""

    def started(self, job: Job) -> None:
        """Nothing."""

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        """Nothing."""

    def note(self, job: Job, text: str) -> None:
        """Nothing."""

    def ended(self, ended: Ended) -> None:
        """Nothing."""
