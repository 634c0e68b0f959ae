"""The settings of a run that its workers need, and the folder of a job."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path

from superbench.features.store import Store
from superbench.plugins import Spec
from superbench.runs.jobs import Job
from superbench.runs.options import Options
from superbench.system.cores import share
from superbench.system.locks import held

LOCK = ".lock"
"""File name of the lock that a process holds while it works on a job."""
EVENTS = "events"
"""The folder beside a result for the files of a tracker."""
THREADS = 1
"""Threads of a worker. The number is the same for any number of workers, because sums depend on it in their last digits."""


def folder(out: Path, spec: Spec, task: str, options: Options) -> Path:
    """Returns the folder of a job: `OUT/<upstream>/<task>`, or its subfolder `few-shot` or `in-context` for these protocols."""
    return out / spec.folder / task / options.subfolder


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


def taken(waiting: list[Job], plan: RunPlan) -> Job:
    """Removes from `waiting`, and returns, the first job on which no other process works; if there is none, the first
    job, which then waits for the other process."""
    free = (i for i, job in enumerate(waiting) if not held(folder(plan.out, job.spec, job.task, plan.options) / LOCK))
    return waiting.pop(next(free, 0))
