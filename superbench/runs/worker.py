"""One job after the other in one process: the upstream at hand, the store.

What goes wrong in a job is an `Ended` with the message that a person reads.
"""

from __future__ import annotations

import contextlib
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from superbench import plugins
from superbench.contract import Task
from superbench.contract.corpora import Corpora
from superbench.errors import CommandError, DamagedFile, MissingCorpus, Occupied, SuperbenchError, Undefined
from superbench.features.store import Store
from superbench.plugins import Spec
from superbench.results import write_failure
from superbench.runs.job import Performed, perform
from superbench.runs.jobs import Ended, Job, RunPlan, Watcher, folder, taken
from superbench.system.memory import give_back
from superbench.system.processes import Orphaned
from superbench.system.progress import Reporter


class Bench:
    """A worker's own things: the last upstream that it loaded, its store."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.store = Store(plan.store, plan.budget)
        self.corpora = Corpora.at(plan.data, plan.settings)
        self._loaded: tuple[Spec, plugins.Loaded, dict[str, Any]] | None = None

    def upstream(self, spec: Spec) -> tuple[plugins.Loaded, dict[str, Any]]:
        """The upstream and its certificate; loaded and examined when it is not the one at hand."""
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
                certificate = (health := examined(loaded, device, certificates, anew=True)).certificate()
            self._loaded = (spec, replace(loaded, mates=health.mates, outputs=outputs), certificate)
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
        """Perform a job; whatever goes wrong is an `Ended` with the message that a person reads."""
        try:
            upstream, certificate = self.upstream(job.spec)
            task = plugins.task(job.task)
            done = self._performed(task, upstream, certificate, _Relay(job, watcher))
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
        except Occupied as error:  # no note of it beside somebody else's results
            return Ended(job, "failed", message=str(error))
        except SuperbenchError as error:
            return self._failed(job, error, str(error))
        except BaseException as error:
            if _of_ours(error):
                raise
            text = f"{type(error).__name__}: {error}. This is not expected; --debug shows where it happened."
            return self._failed(job, error, text)
        finally:
            self.store.release()
            give_back()

    def _performed(self, task: Task, upstream: plugins.Loaded, certificate: dict[str, Any], reporter: Reporter) -> Performed:
        """Do the job; once more from its beginning where the store's index turns out to be damaged, with a new one."""
        plan = self.plan
        try:
            return perform(task, upstream, self.corpora, self.store, plan.out, plan.options, certificate, reporter)
        except DamagedFile:
            self.store.close()
            self.store = Store(plan.store, plan.budget)
            return perform(task, upstream, self.corpora, self.store, plan.out, plan.options, certificate, reporter)

    def _failed(self, job: Job, error: BaseException, message: str) -> Ended:
        ended = failed(job, self.plan, type(error).__name__, message)
        if self.plan.debug:
            message += "\n" + "".join(traceback.format_exception(error))
        return replace(ended, message=message)


def failed(job: Job, plan: RunPlan, kind: str, message: str) -> Ended:
    """A job that failed, noted in its folder; `kind` is that of the error."""
    with contextlib.suppress(SuperbenchError):  # a full disk must not hide the first message
        write_failure(folder(plan.out, job.spec, job.task, plan.options), job.task, job.spec.alias, kind, message)
    return Ended(job, "failed", message=message)


def _of_ours(error: BaseException) -> bool:
    """Does an exception end this process, rather than the job that raised it? An interrupt from the keyboard does, where it is
    heard; what a model raises of itself, `SystemExit` and all, does not."""
    if isinstance(error, KeyboardInterrupt):
        return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    return isinstance(error, Orphaned | GeneratorExit)


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


def inline(jobs: Sequence[Job], plan: RunPlan, watcher: Watcher) -> Iterator[Ended]:
    """Do the jobs one after the other in this process."""
    bench = Bench(plan)
    try:
        waiting = list(jobs)
        while waiting:
            job = taken(waiting, plan)
            watcher.started(job)
            yield bench.do(job, watcher)
    finally:
        bench.store.close()
