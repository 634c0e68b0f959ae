"""Runs jobs one after the other in one process, which keeps the last upstream and the store.

An error in a job becomes an `Ended` with a message for the user.
"""

from __future__ import annotations

import contextlib
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from superbench import plugins
from superbench.contract import Task
from superbench.contract.corpora import Corpora
from superbench.errors import CommandError, DamagedFile, LostDevice, MissingCorpus, Occupied, SuperbenchError, Undefined
from superbench.plugins import Spec
from superbench.results import write_failure
from superbench.runs.job import Performed, perform, share_extraction
from superbench.runs.jobs import Ended, Job, Watcher
from superbench.runs.run_plan import RunPlan, folder, taken
from superbench.system.devices import require_device
from superbench.system.memory import give_back, is_out_of_memory
from superbench.system.processes import Orphaned
from superbench.system.progress import Reporter


class Worker:
    """The state of a worker: its plan, its store, and the upstream that it loaded last. `leaves` returns whether this process
    was told to end: then no exception is the failure of a job."""

    def __init__(self, plan: RunPlan, leaves: Callable[[], bool] = lambda: False) -> None:
        self.plan, self.leaves = plan, leaves
        self.store = plan.open_store()
        self.corpora = Corpora.at(plan.data, plan.settings)
        self._loaded: tuple[Spec, plugins.Loaded, dict[str, Any]] | None = None

    def upstream(self, spec: Spec) -> tuple[plugins.Loaded, dict[str, Any]]:
        """Returns the upstream and its certificate; loads and examines it unless it is the last one."""
        from superbench.plugins.doctor.examination import examined
        from superbench.plugins.reference_outputs import confirm

        if self._loaded is None or self._loaded[0] != spec:
            device, redo = self.plan.options.device, self.plan.options.redo_since is not None
            loaded = plugins.upstream(spec, device)
            if getattr(loaded.model, "only_in_context", False):
                self._loaded = (spec, self._without_features(loaded, redo), {})
                return self._loaded[1], self._loaded[2]
            certificates = self.plan.store / "certificates"
            certificate = (health := examined(loaded, device, certificates)).certificate()
            outputs, changed = confirm(loaded, device, self.plan.store / "outputs", redo=redo)
            if changed:
                certificate = (health := examined(loaded, device, certificates, again=True)).certificate()
            self._loaded = (spec, replace(loaded, batching=health.batching, outputs=outputs), certificate)
        return self._loaded[1], self._loaded[2]

    def _without_features(self, loaded: plugins.Loaded, redo: bool) -> plugins.Loaded:
        """A model for in-context evaluation alone: there is nothing to examine, but its likelihoods are compared."""
        from superbench.plugins.reference_outputs import confirm

        options = self.plan.options
        if options.protocol != "in-context":
            raise CommandError(f"{loaded.alias} gives no features, and is for in-context alone: add --protocol in-context.")
        outputs, _ = confirm(loaded, options.device, self.plan.store / "outputs", redo=redo)
        return replace(loaded, outputs=outputs)

    def do(self, job: Job, watcher: Watcher) -> Ended:
        """Runs a job; an error becomes an `Ended` with a message for the user, except `LostDevice`: this process must end."""
        try:
            upstream, certificate = self.upstream(job.spec)
            task = plugins.task(job.file or job.task)
            done = self._performed(job, task, upstream, certificate, _Relay(job, watcher))
            return Ended(
                job=job,
                state="found" if done.found else "done",
                result=done.result,
                sound_seconds=done.sound_seconds,
                passed_seconds=done.passed_seconds,
            )
        except (MissingCorpus, Undefined) as error:
            if self.plan.lenient:
                return Ended(job, "absent", message=str(error))
            return self._failed(job, error, str(error))
        except LostDevice:
            raise
        except Occupied as error:  # no failure.json in a folder with other results
            return Ended(job, "failed", message=str(error))
        except SuperbenchError as error:
            return self._failed(job, error, str(error))
        except BaseException as error:
            if _ends_process(error) or self.leaves():
                raise
            require_device(error)
            return self._failed(job, error, _unexpected(error))
        finally:
            self.store.release()
            give_back()

    def help(self, job: Job) -> float:
        """Computes stored features for a job on which another worker works; returns the seconds of sound that passed. An error
        is not reported here: the worker of the job meets it too."""
        try:
            upstream, _ = self.upstream(job.spec)
            return share_extraction(plugins.task(job.file or job.task), upstream, self.corpora, self.store, self.plan.options)
        except BaseException as error:
            if _ends_process(error) or self.leaves() or isinstance(error, LostDevice):
                raise
            require_device(error)
            return 0.0
        finally:
            self.store.release()
            give_back()

    def _performed(
        self, job: Job, task: Task, upstream: plugins.Loaded, certificate: dict[str, Any], reporter: Reporter
    ) -> Performed:
        """Runs the job; if the store's index is damaged, opens the store again, with a new index, and repeats the job."""
        plan = self.plan
        run = partial(perform, track=plan.track, file=job.file)
        try:
            return run(task, upstream, self.corpora, self.store, plan.out, plan.options, certificate, reporter)
        except DamagedFile:
            self.store.close()
            self.store = plan.open_store()
            return run(task, upstream, self.corpora, self.store, plan.out, plan.options, certificate, reporter)

    def _failed(self, job: Job, error: BaseException, message: str) -> Ended:
        ended = failed(job, self.plan, type(error).__name__, message)
        if self.plan.debug:
            message += "\n" + "".join(traceback.format_exception(error))
        return replace(ended, message=message)


def failed(job: Job, plan: RunPlan, kind: str, message: str) -> Ended:
    """Writes the failure of a job to its folder, and returns its end; `kind`: the class of the error."""
    with contextlib.suppress(SuperbenchError):  # a full disk must not hide the first message
        write_failure(folder(plan.out, job.spec, job.task, plan.options), job.task, job.spec.alias, kind, message)
    return Ended(job, "failed", message=message)


def do_last(worker: Worker, job: Job, watcher: Watcher) -> Ended:
    """Runs a job in a process that nothing replaces: if its GPU fails, the job has failed."""
    try:
        return worker.do(job, watcher)
    except LostDevice as error:
        return failed(job, worker.plan, "LostDevice", str(error))


def _unexpected(error: BaseException) -> str:
    """Returns the message about an exception that is not superbench's own."""
    said = f"{type(error).__name__}: {error}"
    if is_out_of_memory(error):
        return f"memory ran out, on short sound or outside the model ({said}). Use fewer --workers, or more memory."
    return f"{said}. This error is not expected; --debug shows where it happened."


def _ends_process(error: BaseException) -> bool:
    """Returns whether an exception ends this process, and not only the job that raised it. An interrupt from the keyboard does,
    unless SIGINT is ignored; exceptions of a model, including `SystemExit`, do not."""
    if isinstance(error, KeyboardInterrupt):
        return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    return isinstance(error, Orphaned | GeneratorExit)


class _Relay:
    """Forwards a job's progress to the watcher, at most ten times per second."""

    def __init__(self, job: Job, watcher: Watcher) -> None:
        self.job, self.watcher, self._last = job, watcher, 0.0

    def advance(self, stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        if now - self._last > 0.1 or done >= total:
            self._last = now
            self.watcher.advance(self.job, stage, done, total)

    def note(self, text: str) -> None:
        self.watcher.note(self.job, text)


def inline(jobs: Sequence[Job], plan: RunPlan, watcher: Watcher) -> Iterator[Ended]:
    """Runs the jobs one after the other in this process, and yields their ends. It uses as many threads as a worker process,
    since sums depend on their number."""
    worker, threads = Worker(plan), torch.get_num_threads()
    torch.set_num_threads(plan.threads)
    try:
        waiting = list(jobs)
        while waiting:
            job = taken(waiting, plan)
            watcher.started(job)
            yield do_last(worker, job, watcher)
    finally:
        torch.set_num_threads(threads)
        worker.store.close()
