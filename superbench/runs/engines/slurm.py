"""The engine `slurm`: job arrays through submitit, first over the extraction of features, then over the jobs.

All tasks of the arrays share OUT and the store. Those of the first array compute shards on which no other one works; those of
the second array run the jobs. A task that Slurm preempts is queued again, and continues from what is stored.
https://github.com/facebookincubator/submitit
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superbench.errors import CommandError
from superbench.runs.jobs import Ended, Job, NoWatcher, RunPlan, Watcher
from superbench.runs.worker import Worker, do_last, failed
from superbench.system.devices import devices_of, use_device

CLUSTERS = ("slurm", "local", "debug")
PARALLEL = 8
"""Tasks of the array that run at once, by default."""
POLL_SECONDS = 2.0
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
    if detach and settings["cluster"] != "slurm":
        raise CommandError("--detach needs cluster=slurm; the tasks of the others end with this command. Leave it out.")
    if settings["cluster"] not in CLUSTERS:
        raise CommandError(f"--slurm cluster={settings['cluster']}: expected one of {', '.join(CLUSTERS)}.")
    return settings


@dataclass(frozen=True, slots=True)
class Extract:
    """A task of the first array: computes features for all jobs, as far as no other task does."""

    plan: RunPlan
    jobs: tuple[Job, ...]
    first: int

    def __call__(self) -> float:
        """Returns the seconds of sound that passed through models."""
        worker = _worker(self.plan)
        turned = self.jobs[self.first :] + self.jobs[: self.first]
        return sum(worker.help(job) for job in turned)

    def checkpoint(self) -> Any:
        """Is called before a preemption: the same task is queued again."""
        return _again(self)


@dataclass(frozen=True, slots=True)
class Run:
    """A task of the second array: runs a job."""

    plan: RunPlan
    job: Job

    def __call__(self) -> Ended:
        """Returns the end of the job."""
        return do_last(_worker(self.plan), self.job, NoWatcher())

    def checkpoint(self) -> Any:
        """Is called before a preemption: the same task is queued again."""
        return _again(self)


def _again(task: Any) -> Any:
    from submitit.helpers import DelayedSubmission

    return DelayedSubmission(task)


def _worker(plan: RunPlan) -> Worker:
    import torch

    torch.set_num_threads(plan.threads)
    use_device(devices_of(plan.options.device)[0])
    return Worker(plan)


def slurm(jobs: Sequence[Job], plan: RunPlan, settings: Mapping[str, Any], detach: bool, watcher: Watcher) -> Iterator[Ended]:
    """Submits all jobs, and yields their ends; with `detach`, returns after the submission.

    Raises `CommandError` if submitit or Slurm is missing, or rejects the settings.
    """
    arrays = Arrays(plan.absolute(), tuple(jobs), dict(settings))
    submitted = arrays.submit()
    watcher.note(jobs[0], f"submitted to {settings['cluster']}: {', '.join(str(task.job_id) for task in submitted.values())}")
    if not detach:
        yield from _ends(submitted, plan, watcher)


@dataclass(frozen=True, slots=True)
class Arrays:
    """The two arrays of a run."""

    plan: RunPlan
    jobs: tuple[Job, ...]
    settings: dict[str, Any]

    def submit(self) -> dict[Job, Any]:
        """Submits both arrays, the second for when the first has ended; returns the task of each job."""
        extract, run = self._executor(), self._executor()
        count = min(self.settings["array_parallelism"], len(self.jobs))
        first = self._array(extract, self._parts(count))
        if self.settings["cluster"] == "slurm":
            number = str(first[0].job_id).partition("_")[0]
            run.update_parameters(slurm_additional_parameters={"dependency": f"afterany:{number}"})
        else:
            for task in first:
                task.wait()
        return dict(zip(self.jobs, self._array(run, [Run(self.plan, job) for job in self.jobs]), strict=True))

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
            executor = submitit.AutoExecutor(self.plan.out / LOGS, cluster=cluster)
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
    return {name if name in shared else f"slurm_{name}": value for name, value in given.items()}


def _ends(submitted: Mapping[Job, Any], plan: RunPlan, watcher: Watcher) -> Iterator[Ended]:
    """Yields the ends of jobs as their tasks finish."""
    from submitit.local import debug

    running, started = dict(submitted), set[Job]()
    while running:
        for job, task in list(running.items()):
            if job not in started and task.state in ("RUNNING", "COMPLETED", "DONE"):
                started.add(job)
                watcher.started(job)
            if task.done() or (task.state == "QUEUED" and isinstance(task, debug.DebugJob)):  # which runs when it is asked
                yield _end(job, task, plan)
                running.pop(job)
        if running:
            time.sleep(POLL_SECONDS)


def _end(job: Job, task: Any, plan: RunPlan) -> Ended:
    """Returns what a task of the second array returned, or its failure with the path of its log."""
    import submitit

    try:
        return task.result()
    except submitit.core.utils.UncompletedJobError as error:
        reason = str(error).partition("\n")[0]
        return failed(
            job, plan, "WorkerDied", f"The task of this job ended without a result ({reason}). Log: {Path(task.paths.stderr)}"
        )
    except submitit.core.utils.FailedJobError as error:
        return failed(job, plan, "WorkerDied", f"The task of this job failed: {error}")
