"""Records of jobs and their ends, and the protocol of objects that watch a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from superbench.plugins import Spec
from superbench.results import Result

State = Literal["done", "found", "failed", "absent"]


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
