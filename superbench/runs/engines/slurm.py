"""The engine `slurm`: job arrays through submitit, first over the extraction of features, then over the jobs.

All tasks of the arrays share OUT and the store. Those of the first array compute shards on which no other one works; those of
the second array run the jobs. A task that Slurm preempts is queued again, and continues from what is stored.
https://github.com/facebookincubator/submitit
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from superbench.errors import CommandError, SuperbenchError
from superbench.features.attempts import ATTEMPTS, DEATHS, Attempts
from superbench.runs.jobs import Ended, Job, NoWatcher, Watcher
from superbench.runs.ledger import record_end
from superbench.runs.run_plan import RunPlan
from superbench.runs.status import StatusWatcher
from superbench.runs.worker import Worker, do_last, failed
from superbench.system.devices import devices_of, use_device

CLUSTERS = ("slurm", "local", "debug")
PARALLEL = 8
"""Tasks of the array that run at once, by default."""
TIMEOUTS = 1_000
"""How often a task that reaches its time limit is queued again; a preempted task always is."""
LOCAL_MINUTES = 30 * 24 * 60
"""Time limit of a task that runs as a process of this machine."""
POLL_SECONDS = 2.0
DETACHED: list[Any] = []
"""Tasks of detached runs. With cluster=local they own processes that go on, so they must not be collected before those end."""
OUTPUTS = (1, 2)
"""File descriptors of standard output and standard error."""
LOGS = ".slurm"
"""Folder below OUT with the logs of the tasks."""


def settings_of(text: str | None, detach: bool = False) -> dict[str, Any]:
    """Returns the settings of `--slurm cluster=slurm,partition=gpu,time=240,gpus_per_node=1,array_parallelism=8`.

    >>> settings_of("partition=gpu,time=240")
    {'cluster': 'slurm', 'array_parallelism': 8, 'partition': 'gpu', 'time': 240}
    """
    settings: dict[str, Any] = {"cluster": "slurm", "array_parallelism": PARALLEL}
    for part in (text or "").split(",") if text else []:
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise CommandError(f"--slurm {part!r}: expected NAME=VALUE, as in --slurm partition=gpu,time=240,gpus_per_node=1.")
        settings[name.strip()] = int(value) if value.strip().isdecimal() else value.strip()
    if detach and settings["cluster"] == "debug":
        raise CommandError("--detach: the tasks of cluster=debug run in this command. Leave it out.")
    if settings["cluster"] not in CLUSTERS:
        raise CommandError(f"--slurm cluster={settings['cluster']}: expected one of {', '.join(CLUSTERS)}.")
    return settings


@dataclass(slots=True)
class _Task(ABC):
    """A task of an array. Before Slurm ends it early, submitit calls `checkpoint` in a signal handler, queues what it returns,
    and raises `SystemExit`; `leaving` makes the worker pass that on."""

    plan: RunPlan
    leaving: bool = field(default=False, kw_only=True)

    @abstractmethod
    def __call__(self) -> Any:
        """Does the work of the task."""

    def checkpoint(self) -> Any:
        """Returns the same task, to be queued again; it continues from what is stored."""
        from submitit.helpers import DelayedSubmission

        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # a second one would interrupt this
        self.leaving = True
        return DelayedSubmission(replace(self, leaving=False))

    def worker(self) -> Worker:
        """Returns a worker of this process."""
        import torch

        torch.set_num_threads(self.plan.threads)
        use_device(devices_of(self.plan.options.device)[0])
        return Worker(self.plan, lambda: self.leaving)


@dataclass(slots=True)
class Extract(_Task):
    """A task of the first array: computes features for all jobs, as far as no other task does."""

    jobs: tuple[Job, ...]
    first: int

    def __call__(self) -> float:
        """Returns the seconds of sound that passed through models."""
        worker = self.worker()
        turned = self.jobs[self.first :] + self.jobs[: self.first]
        return sum(worker.help(job) for job in turned)


@dataclass(slots=True)
class Run(_Task):
    """A task of the second array: runs a job, and writes its status. `detached`: no command waits for it, so that its end goes
    to the list of finished jobs here."""

    job: Job
    detached: bool = False

    def __call__(self) -> Ended:
        """Returns the end of the job."""
        watcher = StatusWatcher(NoWatcher(), self.plan.out, "slurm")
        watcher.belongs_to(self.plan.run, part=f"-{self.job.spec.folder}-{self.job.task}")
        with closing(watcher):
            watcher.planned({self.job: 1.0})
            watcher.started(self.job)
            try:
                ended = do_last(self.worker(), self.job, watcher)
            except SuperbenchError as error:
                ended = failed(self.job, self.plan, type(error).__name__, str(error))
            watcher.ended(ended)
        if self.detached:
            record_end(self.plan.out, ended)
        return ended


def slurm(jobs: Sequence[Job], plan: RunPlan, settings: Mapping[str, Any], detach: bool, watcher: Watcher) -> Iterator[Ended]:
    """Submits all jobs, and yields their ends; with `detach`, returns after the submission.

    Raises `CommandError` if submitit or Slurm is missing, or rejects the settings.
    """
    plan = replace(plan.absolute(), beside=1)  # a task has cores of its own
    arrays = Arrays(plan, tuple(jobs), dict(settings), detach)
    submitted = arrays.submit()
    watcher.note(jobs[0], f"submitted to {settings['cluster']}: {', '.join(str(task.job_id) for task in submitted.values())}")
    if detach:
        DETACHED.extend(submitted.values())
    else:
        yield from _ends(arrays, submitted, watcher)


@contextlib.contextmanager
def _without_output() -> Iterator[None]:
    """Inside, processes that are started inherit no output of this command: somebody who reads it would wait for them."""
    kept, nowhere = [os.dup(number) for number in OUTPUTS], os.open(os.devnull, os.O_WRONLY)
    try:
        for number in OUTPUTS:
            os.dup2(nowhere, number)
        yield
    finally:
        for number, before in zip(OUTPUTS, kept, strict=True):
            os.dup2(before, number)
            os.close(before)
        os.close(nowhere)


@dataclass(frozen=True, slots=True)
class Arrays:
    """The two arrays of a run."""

    plan: RunPlan
    jobs: tuple[Job, ...]
    settings: dict[str, Any]
    detach: bool = False

    def submit(self) -> dict[Job, Any]:
        """Submits both arrays, the second for when the first has ended; returns the task of each job."""
        extract, run = self._executor(), self._executor()
        count = min(self.settings["array_parallelism"], len(self.jobs))
        if self.settings["cluster"] == "slurm":
            number = str(self._array(extract, self._parts(count))[0].job_id).partition("_")[0]
            run.update_parameters(slurm_additional_parameters={"dependency": f"afterany:{number}"})
        elif not self.detach:
            for task in self._array(extract, self._parts(count)):
                task.wait()
        tasks = [Run(self.plan, job, self.detach) for job in self.jobs]
        with _without_output() if self.detach else contextlib.nullcontext():
            return dict(zip(self.jobs, self._array(run, tasks), strict=True))

    def again(self, job: Job) -> Any:
        """Submits a job once more, and returns its task."""
        return self._executor().submit(Run(self.plan, job))

    def may_repeat(self, job: Job, deaths: int) -> bool:
        """Returns whether a job whose task died at a shard is repeated, to find the sound at which it dies."""
        return deaths <= DEATHS + 1 and Attempts(self.plan.store / ATTEMPTS, self.plan.run).left()

    def _parts(self, count: int) -> list[Extract]:
        return [Extract(self.plan, self.jobs, len(self.jobs) * number // count) for number in range(count)]

    @staticmethod
    def _array(executor: Any, tasks: Sequence[Any]) -> list[Any]:
        with executor.batch():
            return [executor.submit(task) for task in tasks]

    def _executor(self) -> Any:
        """Returns an executor of submitit with the settings; raises `CommandError`."""
        try:
            import submitit
        except ImportError as error:
            raise CommandError("--engine slurm needs submitit: pip install 'speech-superbench[slurm]'") from error
        cluster = self.settings["cluster"]
        try:
            executor = submitit.AutoExecutor(self.plan.out / LOGS, cluster=cluster, slurm_max_num_timeout=TIMEOUTS)
            executor.update_parameters(name="superbench", **_parameters(self.settings))
        except (RuntimeError, NameError, ValueError, TypeError) as error:
            raise CommandError(
                f"--slurm cluster={cluster}: submitit rejects the settings ({error}). The machine must have `sbatch`; "
                "cluster=local runs the same tasks as processes of this machine."
            ) from error
        return executor


def _parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings as submitit names them: `time` and others of sbatch have the prefix `slurm_`."""
    shared = {"gpus_per_node", "cpus_per_task", "mem_gb", "nodes", "tasks_per_node", "timeout_min"}
    given = {name: value for name, value in settings.items() if name != "cluster"}
    if settings["cluster"] != "slurm":
        given.setdefault("timeout_min", LOCAL_MINUTES)
    return {name if name in shared else f"slurm_{name}": value for name, value in given.items()}


def _ends(arrays: Arrays, submitted: Mapping[Job, Any], watcher: Watcher) -> Iterator[Ended]:
    """Yields the ends of jobs as their tasks finish. A job whose task died at a shard is submitted again, until the sound is
    known at which it dies."""
    from submitit.local import debug

    running, started, deaths = dict(submitted), set[Job](), Counter[Job]()
    while running:
        for job, task in list(running.items()):
            if job not in started and task.state in ("RUNNING", "COMPLETED", "DONE"):
                started.add(job)
                watcher.started(job)
            if task.done() or (task.state == "QUEUED" and isinstance(task, debug.DebugJob)):  # which runs when it is asked
                try:
                    yield _result(job, task, arrays.plan)
                except _Died as died:
                    deaths[job] += 1
                    if arrays.may_repeat(job, deaths[job]):
                        watcher.note(job, "its task died. The job is repeated; it continues where it stopped")
                        running[job] = arrays.again(job)
                        continue
                    yield failed(job, arrays.plan, "WorkerDied", str(died))
                running.pop(job)
        if running:
            time.sleep(POLL_SECONDS)


class _Died(Exception):
    """A task ended without a result."""


def _result(job: Job, task: Any, plan: RunPlan) -> Ended:
    """Returns what a task of the second array returned, or the failure of the job; raises `_Died` with the path of its log."""
    import submitit

    try:
        return task.result()
    except submitit.core.utils.FailedJobError as error:
        _, *trace = re.split(r"^-+$", str(error), flags=re.MULTILINE)  # between lines of dashes
        reason = (trace[0] if trace else str(error)).strip().splitlines()[-1]
        text = f"The task of this job failed: {reason} Log: {Path(task.paths.stderr)}"
        return failed(job, plan, "WorkerDied", text)
    except submitit.core.utils.UncompletedJobError as error:
        reason = str(error).partition("\n")[0]
        text = f"The task of this job ended without a result ({reason}). Log: {Path(task.paths.stderr)}"
        raise _Died(text) from error
