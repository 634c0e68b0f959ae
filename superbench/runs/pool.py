"""Starts the worker processes of a run, and assigns jobs to them; they end with the process that started them.

If a worker process dies, only its current job fails. A user's own model runs in a process without other models, so that changes
of its code to Python, torch or numpy do not affect other models.
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
from superbench.runs.worker import Worker, failed
from superbench.system.processes import end, how_it_ended, say, start


class _PipeWatcher:
    """A watcher that sends all events through a pipe to the parent process."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def planned(self, shares: Mapping[Job, float]) -> None:
        """Does nothing: the parent process made the plan."""

    def started(self, job: Job) -> None:
        say(self.pipe, "started", job)

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        say(self.pipe, "advance", job, stage, done, total)

    def note(self, job: Job, text: str) -> None:
        say(self.pipe, "note", job, text)

    def ended(self, ended: Ended) -> None:
        say(self.pipe, "ended", ended)


def _work(pipe: Connection, plan: RunPlan) -> None:
    """Main function of a worker process: runs the jobs that it receives, and sends their ends."""
    worker = Worker(plan)
    watcher = _PipeWatcher(pipe)
    with contextlib.suppress(EOFError):  # the parent process has ended, or has no more jobs
        while True:
            job = pipe.recv()
            watcher.started(job)
            watcher.ended(worker.do(job, watcher))


@dataclass(slots=True)
class _Process:
    """A worker process, its current job, and the user's model that it has loaded; None if it has loaded built-in models."""

    process: Any
    pipe: Connection
    job: Job | None = None
    own: Spec | None = None

    def can_do(self, job: Job) -> bool:
        """Returns whether the process is alive, and has loaded no code except that of the job's model and of superbench."""
        return self.process.is_alive() and (self.own is None if plugins.is_built_in(job.spec) else self.own in (None, job.spec))


def _start(plan: RunPlan) -> _Process:
    own_end, worker_end = multiprocessing.Pipe()
    process = start(_work, worker_end, plan, threads=plan.threads)
    worker_end.close()
    return _Process(process, own_end)


def parallel(jobs: Sequence[Job], plan: RunPlan, count: int, watcher: Watcher) -> Iterator[Ended]:
    """Runs jobs in `count` processes, and yields their ends. If a process dies, only its current job fails."""
    waiting = list(jobs)
    workers: list[_Process] = []
    try:
        for _ in range(count):
            workers.append(_start(plan))
        for number in range(count):
            _assign(workers, number, waiting, plan)
        while any(worker.job for worker in workers):
            for pipe in wait([worker.pipe for worker in workers if worker.job], timeout=1.0):
                worker = next(worker for worker in workers if worker.pipe is pipe)
                ended = _receive(worker, watcher, plan)
                if ended is None:
                    continue
                yield ended
                _assign(workers, workers.index(worker), waiting, plan)
    finally:
        end([worker.process for worker in workers])


def _assign(workers: list[_Process], number: int, waiting: list[Job], plan: RunPlan) -> None:
    """Sends the next job to a worker: if it has loaded a user's model, preferably a job of that model. A worker that cannot do
    the job is replaced by a new process."""
    worker = workers[number]
    worker.job = None
    if not waiting:
        return
    same_model = [job for job in waiting if job.spec == worker.own]
    job = taken(same_model or waiting, plan)
    if same_model:
        waiting.remove(job)
    if not worker.can_do(job):
        end([worker.process])
        workers[number] = worker = _start(plan)
    worker.job, worker.own = job, worker.own if plugins.is_built_in(job.spec) else job.spec
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died while it waited: reading its pipe says so
        worker.pipe.send(job)


def _receive(worker: _Process, watcher: Watcher, plan: RunPlan) -> Ended | None:
    """Receives one event of a worker and calls the watcher; returns the end of a job, or None for any other event."""
    try:
        event, *content = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join(5)
        assert worker.job is not None
        return failed(worker.job, plan, "WorkerDied", _death(worker.process.exitcode))
    if event == "ended":
        return content[0]
    getattr(watcher, event)(*content)
    return None


def _death(status: int | None) -> str:
    """Returns the message for a job whose worker process ended with an exit status."""
    ended = how_it_ended(status or 0)
    if status is None or status >= 0:
        return (
            f"The process of this job {ended} before the job was done: the code of the model or of the task ended it "
            "(os._exit, for example). Correct that code, and run the same command again."
        )
    killed = -status == signal.SIGKILL
    cause = "probably because memory was exhausted. Use fewer --workers" if killed else "in compiled code. Correct that code"
    return f"The process of this job {ended}, {cause}, and run the same command again: it continues from here."
