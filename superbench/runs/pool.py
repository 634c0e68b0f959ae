"""Worker processes that do the jobs, and end with the process that hired them.

A worker keeps a bench of its own; one that dies takes only its own job with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from superbench.runs.jobs import Ended, Job, RunPlan, Watcher, taken
from superbench.runs.worker import Bench, failed
from superbench.system.processes import end, say, start


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
    process: Any
    pipe: Connection
    job: Job | None = None


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
        for worker in workers:
            _assign(worker, waiting, plan)
        while any(worker.job for worker in workers):
            for pipe in wait([worker.pipe for worker in workers if worker.job], timeout=1.0):
                worker = next(one for one in workers if one.pipe is pipe)
                ended = _hear(worker, watcher, plan)
                if ended is None:
                    continue
                yield ended
                if not worker.process.is_alive() and waiting:
                    workers[workers.index(worker)] = worker = _hire(plan)
                _assign(worker, waiting, plan)
    finally:
        end([worker.process for worker in workers])


def _assign(worker: _Worker, waiting: list[Job], plan: RunPlan) -> None:
    worker.job = None
    if waiting and worker.process.is_alive():
        worker.job = taken(waiting, plan)
        worker.pipe.send(worker.job)


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
    if status is None or status >= 0:
        return (
            f"The process of this job ended with status {status} before the job was done: the code of the model or of the task "
            "ended it (os._exit, for example). Mend that code, and run the same command again."
        )
    name = signal.Signals(-status).name if -status in signal.valid_signals() else "not known"
    why = "most likely for want of memory: take fewer --workers" if -status == signal.SIGKILL else "a crash in compiled code"
    return (
        f"The process of this job died (signal {-status}, {name}), {why}. Run the same command again when that is mended; it "
        "goes on from here."
    )
