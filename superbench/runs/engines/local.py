"""The engine `local`: worker processes on this machine, which end with the process that started them.

A user's own model runs in a process without other models, so that changes of its code to Python, torch or numpy do not affect
other models.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

from superbench import plugins
from superbench.plugins import Spec
from superbench.runs.engines.crew import Dispatcher, Event, Unit, work
from superbench.runs.jobs import Ended, Job, Watcher
from superbench.runs.run_plan import RunPlan
from superbench.runs.worker import Worker, inline
from superbench.system.cores import cores
from superbench.system.crashes import crash_file, has_crashed
from superbench.system.devices import use_device
from superbench.system.memory import total_memory
from superbench.system.processes import end, how_it_ended, say, start

CRASHES = "crashes"
"""Folder in the store with reports of crashes."""
WORKER_BYTES = 2 * 2**30
"""Memory that a worker on a CPU usually needs, with its libraries and a base model."""


def default_workers(devices: Sequence[str]) -> int:
    """Returns the default number of processes: one for each GPU; on a CPU one for each core, as far as they have
    `WORKER_BYTES` of memory each."""
    if devices[0] != "cpu":
        return len(devices)
    return max(1, min(cores(), total_memory() // WORKER_BYTES))


def local(jobs: Sequence[Job], plan: RunPlan, count: int, trusted: bool, watcher: Watcher) -> Iterator[Ended]:
    """Runs jobs in `count` processes, and yields their ends. If a process dies, only its current job fails.

    A single worker is this process if all code of the run is part of superbench (`trusted`), unless an earlier run crashed: a
    sound at which worker processes die is found and named, this process would only crash again.
    """
    if count == 1 and trusted and not has_crashed(plan.store / CRASHES):
        use_device(plan.devices[0])
        return _inline(jobs, plan, watcher)
    return Dispatcher(list(jobs), plan, Processes(plan, count), watcher).run()


def _inline(jobs: Sequence[Job], plan: RunPlan, watcher: Watcher) -> Iterator[Ended]:
    with crash_file(plan.store / CRASHES):
        yield from inline(jobs, plan, watcher)


def _work(pipe: Connection, plan: RunPlan, device: str) -> None:
    """Main function of a worker process: does the units that it receives, and sends their ends."""
    use_device(device)
    with contextlib.suppress(EOFError):  # the parent process has ended, or has no more units
        work(Worker(plan), iter(pipe.recv, None), partial(say, pipe))


@dataclass(slots=True)
class _Process:
    """A worker process, whether it has work, and the user's model that it has loaded; None if it has loaded built-in models."""

    process: Any
    pipe: Connection
    busy: bool = False
    own: Spec | None = None

    def can_do(self, job: Job) -> bool:
        """Returns whether the process is alive, and has loaded no code except that of the job's model and of superbench."""
        return self.process.is_alive() and (self.own is None if plugins.is_built_in(job.spec) else self.own in (None, job.spec))


class Processes:
    """A `Crew` of child processes, each started for its first unit; worker n uses the n-th device of the plan, in turn."""

    retries = 0

    def __init__(self, plan: RunPlan, size: int) -> None:
        self.plan, self.size = plan, size
        self._workers: dict[int, _Process] = {}

    def _start(self, number: int) -> _Process:
        own_end, worker_end = multiprocessing.Pipe()
        device = self.plan.devices[number % len(self.plan.devices)]
        process = start(_work, worker_end, self.plan, device, threads=self.plan.threads)
        worker_end.close()
        return _Process(process, own_end)

    def ready(self, number: int) -> bool:
        """Returns True: a process that is not there yet is started for its first unit."""
        return True

    def place(self, number: int) -> str | None:
        """Returns None: all processes share the store."""
        return None

    def assign(self, number: int, unit: Unit) -> None:
        """Sends a unit to a worker; a worker that cannot do it is replaced by a new process."""
        worker = self._workers.get(number)
        if worker is None or not worker.can_do(unit.job):
            end([worker.process] if worker else [])
            self._workers[number] = worker = self._start(number)
        worker.busy, worker.own = True, None if plugins.is_built_in(unit.job.spec) else unit.job.spec
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died while it waited: reading its pipe says so
            worker.pipe.send(unit)

    def events(self) -> Iterator[tuple[int, Event]]:
        """Yields what arrived within a second."""
        pipes = {worker.pipe: number for number, worker in self._workers.items() if worker.busy}
        for pipe in wait(list(pipes), timeout=1.0):
            number = pipes[pipe]  # type: ignore[index]
            event = _received(self._workers[number])
            if event[0] in ("ended", "helped", "died", "lost"):
                self._workers[number].busy = False
            if event[0] == "lost":
                end([self._workers.pop(number).process])
            yield number, event

    def close(self) -> None:
        """Ends all processes."""
        end([worker.process for worker in self._workers.values()])


def _received(worker: _Process) -> Event:
    """Receives one event of a worker; if its process has ended, the event is `died` with a message."""
    try:
        return worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join(5)
        return "died", _death(worker.process.exitcode)


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
