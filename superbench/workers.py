"""Those who do the jobs: this process, or several worker processes that end with it.

A worker keeps the upstream that it loaded last and its own connection to the store. What goes wrong in a job is an `Ended` with
the message that a person reads; a worker that dies takes only its own job with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, Protocol

from superbench import registry
from superbench.corpora import Corpora
from superbench.errors import MissingCorpus, SuperbenchError
from superbench.features.store import Store
from superbench.job import perform
from superbench.options import Options
from superbench.registry import Spec
from superbench.results import Result, write_failure

State = Literal["done", "found", "failed", "absent"]


@dataclass(frozen=True, slots=True)
class Plan:
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


# ---------------------------------------------------------------- one job in this process


class _Bench:
    """A worker's own things: the last upstream that it loaded, its store."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.store = Store(plan.store, plan.budget)
        self.corpora = Corpora.at(plan.data, plan.settings)
        self._loaded: tuple[Spec, registry.Loaded, dict[str, Any]] | None = None

    def upstream(self, spec: Spec) -> tuple[registry.Loaded, dict[str, Any]]:
        """The upstream and its certificate; loaded and examined when it is not the one at hand."""
        from superbench.doctor import examined

        if self._loaded is None or self._loaded[0] != spec:
            loaded = registry.upstream(spec, self.plan.options.device)
            health = examined(loaded, self.plan.options.device, self.plan.store / "certificates")
            self._loaded = (spec, replace(loaded, mates=health.mates), health.certificate())
        return self._loaded[1], self._loaded[2]

    def do(self, job: Job, watcher: Watcher) -> Ended:
        """Perform a job; whatever goes wrong is an `Ended` with the message that a person reads."""
        try:
            upstream, certificate = self.upstream(job.spec)
            task = registry.task(job.task)
            done = perform(
                task, upstream, self.corpora, self.store, self.plan.out, self.plan.options, certificate, _Relay(job, watcher)
            )
            seconds = done.sound_seconds, done.passed_seconds
            return Ended(job, "found" if done.found else "done", done.result, "", *seconds)
        except MissingCorpus as error:
            if self.plan.lenient:
                return Ended(job, "absent", message=str(error))
            return self._failed(job, error, str(error))
        except SuperbenchError as error:
            return self._failed(job, error, str(error))
        except Exception as error:
            text = f"{type(error).__name__}: {error}. This is not expected; --debug shows where it happened."
            return self._failed(job, error, text)
        finally:
            self.store.release()

    def _failed(self, job: Job, error: Exception, message: str) -> Ended:
        place = self.plan.out / job.spec.folder / job.task
        with contextlib.suppress(SuperbenchError):  # a full disk must not hide the first message
            write_failure(place, job.task, job.spec.alias, type(error).__name__, message)
        if self.plan.debug:
            message += "\n" + "".join(traceback.format_exception(error))
        return Ended(job, "failed", message=message)


class _Relay:
    """Hands a job's progress to the watcher, at most ten times a second."""

    def __init__(self, job: Job, watcher: Watcher) -> None:
        self.job, self.watcher, self._last = job, watcher, 0.0

    def advance(self, stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        if now - self._last > 0.1 or done >= total:
            self._last = now
            self.watcher.advance(self.job, stage, done, total)

    def note(self, text: str) -> None:
        self.watcher.note(self.job, text)


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


def inline(jobs: Sequence[Job], plan: Plan, watcher: Watcher) -> Iterator[Ended]:
    """Do the jobs one after the other in this process."""
    bench = _Bench(plan)
    for job in jobs:
        watcher.started(job)
        yield bench.do(job, watcher)


# ---------------------------------------------------------------- jobs in worker processes


class _Wire:
    """A watcher at the worker's end of a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def planned(self, shares: Mapping[Job, float]) -> None:
        """The parent knows."""

    def started(self, job: Job) -> None:
        self.pipe.send(("started", job))

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        self.pipe.send(("advance", job, stage, done, total))

    def note(self, job: Job, text: str) -> None:
        self.pipe.send(("note", job, text))

    def ended(self, ended: Ended) -> None:
        self.pipe.send(("ended", ended))


@contextlib.contextmanager
def _main_left_alone() -> Iterator[None]:
    """Keeps a spawned worker from running the user's script again to find `__main__`, of which it needs nothing."""
    main = sys.modules["__main__"]
    kept = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    for name in kept:
        delattr(main, name)
    main.__spec__ = None
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)


def _work(pipe: Connection, plan: Plan, parent: int) -> None:
    """A worker's life: take a job, do it, say so. It ends with its parent."""
    import torch

    torch.set_num_threads(plan.threads)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    bench = _Bench(plan)
    wire = _Wire(pipe)
    while (job := pipe.recv()) is not None:
        wire.started(job)
        wire.ended(bench.do(job, wire))


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


@dataclass(slots=True)
class _Worker:
    process: Any
    pipe: Connection
    job: Job | None = None


def _hire(plan: Plan) -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, plan, os.getpid()), daemon=True)
    with _main_left_alone():
        process.start()
    there.close()
    return _Worker(process, here)


def parallel(jobs: Sequence[Job], plan: Plan, count: int, watcher: Watcher) -> Iterator[Ended]:
    """Give jobs to workers as they come free; a worker that dies takes only its own job with it."""
    waiting = list(jobs)
    workers = [_hire(plan) for _ in range(count)]
    try:
        for worker in workers:
            _assign(worker, waiting)
        while any(worker.job for worker in workers):
            for pipe in wait([worker.pipe for worker in workers if worker.job], timeout=1.0):
                worker = next(one for one in workers if one.pipe is pipe)
                ended = _hear(worker, watcher)
                if ended is None:
                    continue
                yield ended
                if not worker.process.is_alive() and waiting:
                    workers[workers.index(worker)] = worker = _hire(plan)
                _assign(worker, waiting)
    finally:
        for worker in workers:
            worker.process.terminate()
            worker.process.join(5)


def _assign(worker: _Worker, waiting: list[Job]) -> None:
    worker.job = None
    if waiting and worker.process.is_alive():
        worker.job = waiting.pop(0)
        worker.pipe.send(worker.job)


def _hear(worker: _Worker, watcher: Watcher) -> Ended | None:
    try:
        kind, *content = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join(5)
        assert worker.job is not None
        text = (
            f"The worker process died (exit code {worker.process.exitcode}), most likely for want of memory. "
            "Run the same command again, with fewer --workers; it goes on from here."
        )
        return Ended(worker.job, "failed", message=text)
    if kind == "ended":
        return content[0]
    getattr(watcher, kind)(*content)
    return None
