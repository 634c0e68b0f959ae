"""Runs every upstream on every task, in worker processes, and writes a list of finished jobs.

If a job fails, its message goes to `failure.json`, and the other jobs continue. To continue a run that was interrupted, repeat
its command: finished jobs return their results, stored features are used, training continues from its checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Unpack

from superbench.errors import CommandError
from superbench.features.store import Store, default_root
from superbench.plugins import model_files
from superbench.runs.asked import Asked, asked, optional_path
from superbench.runs.banner import banner
from superbench.runs.engines.choice import distributed, require_engine
from superbench.runs.engines.local import default_workers
from superbench.runs.history import History, conditions_of
from superbench.runs.jobs import Announced, Ended, Job, Watcher
from superbench.runs.ledger import record_end
from superbench.runs.notebook import usual_watcher
from superbench.runs.options import RunOptions, check_names
from superbench.runs.report import Report
from superbench.runs.run_plan import RunPlan
from superbench.runs.status import StatusWatcher
from superbench.runs.worker import failed
from superbench.system.devices import devices_of
from superbench.system.leases import is_marked
from superbench.system.locks import require_locks
from superbench.system.user import settle


def run(
    upstreams: Sequence[str | Callable] | str | Callable, tasks: Sequence[str] | str = "all", **options: Unpack[RunOptions]
) -> Report:
    """Runs `tasks` (names, or "all" whose corpora are in `data`) on `upstreams`, and writes results to the folder `out`.

    An upstream is a spec, or a class or function at the top level of a file; a single one needs no list. The options are those
    of `RunOptions`. Raises `CommandError` for invalid arguments; a job that fails is in the report, and does not stop the
    others. In a notebook, progress is shown below the cell unless `watcher` is set.

    >>> run(["fbank"], ["ks", "ic"], data="corpora", out="results", max_steps=100)  # doctest: +SKIP
    """
    began = time.perf_counter()
    settle()
    if reading := model_files.being_read():
        raise CommandError(
            f"{reading} calls superbench.run while superbench imports it to load its model; this would never end. Put the "
            "call under: if __name__ == '__main__':"
        )
    check_names(options, needed=["data", "out"])
    checked = asked(upstreams, tasks, **options).into(Path(options["out"]))
    plan, count = _plan(checked, options)
    report, watcher = Report(), StatusWatcher(options.get("watcher") or usual_watcher(), plan.out, require_engine(options))
    watcher.belongs_to(plan.run, detached=bool(options.get("detach")))
    with closing(watcher):
        history, shares = _history(checked, plan), checked.jobs
        for ended in _ended(checked, plan, count, options, watcher):
            report.ended.append(ended)
            record_end(plan.out, ended)
            watcher.ended(ended)
            if ended.state == "done":
                history.add(ended.job, shares[ended.job], watcher.seconds(ended.job))
    report.seconds = time.perf_counter() - began
    return report


def processes(given: RunOptions, checked: Asked) -> int:
    """Returns the number of workers of a run. On miniature corpora, more workers than jobs would have nothing to do."""
    count = given.get("workers") or default_workers(devices_of(given.get("device", "auto")))
    return min(count, len(checked.jobs)) if checked.corpora.synthetic else count


def _plan(checked: Asked, given: RunOptions) -> tuple[RunPlan, int]:
    """Returns the settings and the number of workers; raises an error if results or features could not be written."""
    count, gigabytes = processes(given, checked), given.get("store_gb")
    plan = RunPlan(
        data=Path(given["data"]),
        settings=optional_path(given.get("settings")),
        out=Path(given["out"]),
        store=optional_path(given.get("store")) or default_root(),
        budget=None if gigabytes is None else round(gigabytes * 1e9),
        options=checked.options,
        lenient=checked.lenient,
        devices=devices_of(given.get("device", "auto")),
        debug=given.get("debug", False),
        node_store=str(given.get("store") or "") if given.get("store_per_node") else None,
        readers=given.get("readers"),
        beside=count,
        track=given.get("track"),
    )
    require_locks(plan.out, f"--out {plan.out}")
    require_locks(plan.store, f"--store {plan.store}")
    return plan, count


def _about_leases(plan: RunPlan) -> list[str]:
    """Returns a remark for each folder whose file system has no locks."""
    folders = [folder for folder in (plan.out, plan.store) if is_marked(folder)]
    return [f"the file system of {folder} has no file locks; lease files take their place" for folder in folders]


def _ended(checked: Asked, plan: RunPlan, count: int, given: RunOptions, watcher: Watcher) -> Iterator[Ended]:
    """Runs the jobs and yields their ends, those of broken plugins first. Remarks on the store's index and on plugins come
    before any job starts."""
    shares = checked.jobs
    with Store(plan.store) as store:
        remarks = store.remarks() + _about_leases(plan)
    remarks += [message for name, message in checked.broken.items() if name in checked.tasks]  # a built-in name, claimed twice
    expected = _history(checked, plan).expected(shares, count)
    if isinstance(watcher, Announced):
        watcher.announced(banner(checked, plan.data, expected, count))
    watcher.planned(expected)
    jobs = list(shares)
    for remark in remarks:
        watcher.note(jobs[0], remark)
    yield from _broken(checked, plan)
    yield from distributed(jobs, plan, count, given, trusted=checked.trusted, watcher=watcher)


def _history(checked: Asked, plan: RunPlan) -> History:
    return History(plan.store, conditions_of(plan.options, synthetic=checked.corpora.synthetic))


def _broken(checked: Asked, plan: RunPlan) -> Iterator[Ended]:
    """Yields the failed jobs of tasks whose plugins are broken."""
    for name in checked.broken.keys() - checked.tasks.keys():
        yield from (failed(Job(spec, name), plan, "BrokenPlugin", checked.broken[name]) for spec in checked.specs)
