"""Worker processes that do the jobs, and end with the process that started them.

A worker process that dies fails only its own job. A person's own model has its process to itself: what its code changes in
Python, torch or numpy reaches no other model.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from superbench import plugins
from superbench.plugins import Spec
from superbench.runs.jobs import Ended, Job, RunPlan, Watcher, taken
from superbench.runs.worker import Bench, failed
from superbench.system.processes import end, how_it_ended, say, start


class _Wire:
    """A watcher at the worker's end of a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def planned(self, shares: Mapping[Job, float]) -> None:
        """The parent knows."""

    def started(self, job: Job) -> None:
        say(self.pipe, "started", job)

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        say(self.pipe, "advance", job, stage, done, total)

    def note(self, job: Job, text: str) -> None:
        say(self.pipe, "note", job, text)

    def ended(self, ended: Ended) -> None:
        say(self.pipe, "ended", ended)


def _work(pipe: Connection, plan: RunPlan) -> None:
    """A worker's life: take a job, do it, say so."""
    bench = Bench(plan)
    wire = _Wire(pipe)
    with contextlib.suppress(EOFError):  # the parent is gone, or needs no work
        while True:
            job = pipe.recv()
            wire.started(job)
            wire.ended(bench.do(job, wire))


@dataclass(slots=True)
class _Worker:
    """A process, its current job, and the own model that it has loaded, or None if it has loaded built-in models alone."""

    process: Any
    pipe: Connection
    job: Job | None = None
    own: Spec | None = None

    def can_do(self, job: Job) -> bool:
        """Whether the process is alive, and has loaded no code but that of the job's model and of superbench."""
        return self.process.is_alive() and (self.own is None if plugins.is_built_in(job.spec) else self.own in (None, job.spec))


def _hire(plan: RunPlan) -> _Worker:
    here, there = multiprocessing.Pipe()
    process = start(_work, there, plan, threads=plan.threads)
    there.close()
    return _Worker(process, here)


def parallel(jobs: Sequence[Job], plan: RunPlan, count: int, watcher: Watcher) -> Iterator[Ended]:
    """Give jobs to workers as they come free; a worker that dies takes only its own job with it."""
    waiting = list(jobs)
    workers: list[_Worker] = []
    try:
        for _ in range(count):
            workers.append(_hire(plan))
        for number in range(count):
            _assign(workers, number, waiting, plan)
        while any(worker.job for worker in workers):
            for pipe in wait([worker.pipe for worker in workers if worker.job], timeout=1.0):
                worker = next(one for one in workers if one.pipe is pipe)
                ended = _hear(worker, watcher, plan)
                if ended is None:
                    continue
                yield ended
                _assign(workers, workers.index(worker), waiting, plan)
    finally:
        end([worker.process for worker in workers])


def _assign(workers: list[_Worker], number: int, waiting: list[Job], plan: RunPlan) -> None:
    """Give the next job to a worker: one of the same model, where it has an own one; in a new process, where it must."""
    worker = workers[number]
    worker.job = None
    if not waiting:
        return
    same = [job for job in waiting if job.spec == worker.own]
    job = taken(same or waiting, plan)
    if same:
        waiting.remove(job)
    if not worker.can_do(job):
        end([worker.process])
        workers[number] = worker = _hire(plan)
    worker.job, worker.own = job, worker.own if plugins.is_built_in(job.spec) else job.spec
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died while it waited: its pipe will say so
        worker.pipe.send(job)


def _hear(worker: _Worker, watcher: Watcher, plan: RunPlan) -> Ended | None:
    try:
        kind, *content = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join(5)
        assert worker.job is not None
        return failed(worker.job, plan.out, "WorkerDied", _death(worker.process.exitcode))
    if kind == "ended":
        return content[0]
    getattr(watcher, kind)(*content)
    return None


def _death(status: int | None) -> str:
    """What the exit status of a worker process says of the job that it had in hand."""
    ended = how_it_ended(status or 0)
    if status is None or status >= 0:
        return (
            f"The process of this job {ended} before the job was done: the code of the model or of the task ended it "
            "(os._exit, for example). Mend that code, and run the same command again."
        )
    why = "most likely for want of memory: take fewer --workers" if -status == signal.SIGKILL else "a crash in compiled code"
    return f"The process of this job {ended}, {why}. Run the same command again when that is mended; it goes on from here."
