"""Runs every upstream on every task, in worker processes, and writes a list of finished jobs.

If a job fails, its message goes to `failure.json`, and the other jobs continue. To continue a run that was interrupted, repeat
its command: finished jobs return their results, stored features are used, training continues from its checkpoint.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

from superbench import plugins
from superbench.contract import UNTRAINED, Precision, Protocols, Task
from superbench.contract.corpora import Corpora
from superbench.errors import CommandError, EndedProcess
from superbench.features.store import Store, default_root
from superbench.plugins import Spec, model_files
from superbench.results.draws import DRAWS
from superbench.runs.banner import banner
from superbench.runs.destination import label_of, placed
from superbench.runs.engines.choice import distributed, require_engine
from superbench.runs.engines.local import default_workers
from superbench.runs.given import names_of, rates_of, seeds_of, shots_of
from superbench.runs.history import History, conditions_of
from superbench.runs.jobs import Announced, Ended, Job, RunPlan, Watcher
from superbench.runs.ledger import record_end
from superbench.runs.notebook import usual_watcher
from superbench.runs.options import Options, RecipeOptions, RunOptions, check_names, known_variants, unusual_batches
from superbench.runs.report import Report
from superbench.runs.status import StatusWatcher
from superbench.runs.worker import failed
from superbench.system.devices import devices_of, fast_precision, use_device
from superbench.system.leases import is_marked
from superbench.system.locks import require_locks
from superbench.system.ranges import require_number, require_whole
from superbench.system.user import settle
from superbench.training.tracking import require_tracker

OTHER_WORK = 30_000.0
"""Cost of reading, extraction and scoring in a job; the unit is the cost of one utterance in an update of a head on means."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A run whose arguments are valid. Only its tasks are loaded, and nothing is written yet. `files`: the tasks of own files,
    as name -> `/path/file.py:NAME`."""

    corpora: Corpora
    specs: list[Spec]
    tasks: dict[str, Task]
    options: Options
    lenient: bool
    broken: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def into(self, out: Path) -> Asked:
        """Returns the same run with each upstream under the name of its results in the folder `out`."""
        names = [placed(spec, out, self.options, _usual(self.corpora)) for spec in self.specs]
        return replace(self, specs=names)

    @property
    def jobs(self) -> dict[Job, float]:
        """Every job with its rough share of the work, the longest first."""
        shares = {
            Job(spec, name, self.files.get(name, "")): _cost(task.card, self.options)
            for spec in self.specs
            for name, task in self.tasks.items()
        }
        return dict(sorted(shares.items(), key=lambda share: -share[1]))

    @property
    def trusted(self) -> bool:
        """Whether all code of the run is part of superbench. Other code could end its process, so it runs in a worker."""
        return all(map(plugins.is_built_in, self.specs)) and all(map(plugins.is_built_in_task, self.tasks))


def asked(
    upstreams: Sequence[str | Callable] | str | Callable, tasks: Sequence[str] | str = "all", **given: Unpack[RunOptions]
) -> Asked:
    """Checks the arguments of a run, which are those of `run`; raises `CommandError` if they are not valid."""
    check_names(given, needed=["data"])
    corpora = Corpora.at(Path(given["data"]), _path(given.get("settings")))
    listed = [upstreams] if isinstance(upstreams, str) or callable(upstreams) else list(upstreams)
    specs = plugins.specs([model_files.text(upstream) for upstream in listed])
    chosen = plugins.tasks() if tasks == "all" else plugins.chosen(tasks)
    for name in () if tasks == "all" else chosen:
        plugins.refuse_claimed(plugins.TASKS, "task", name)
    options = replace(
        options_of(given, _usual(corpora), list(chosen.values())), redo_since=time.time() if given.get("redo") else None
    )
    for task in chosen.values():
        options.recipe(task)
    for spec in {(spec.hub, spec.name): spec for spec in specs}.values():  # checkpoints of a series have one
        _require_plugin(spec)
    require_engine(given)
    require_tracker(given.get("track"))
    if given.get("workers") is not None:
        require_whole("--workers", given["workers"], least=1)  # type: ignore[arg-type]
    if given.get("readers") is not None:
        require_whole("--readers", given["readers"], least=1)  # type: ignore[arg-type]
    if given.get("store_gb") is not None:
        require_number("--store-gb", given["store_gb"], least=0)  # type: ignore[arg-type]
    return Asked(
        corpora=corpora,
        specs=specs,
        tasks=chosen,
        options=options,
        lenient=tasks == "all",
        broken=plugins.broken() if tasks == "all" else {},
        files=plugins.file_names(tasks),
    )


def _require_plugin(spec: Spec) -> None:
    """Imports the model of a spec, and raises its errors. The code of an own model is imported only in a child process, which
    it may end; then its jobs fail by name, and the other models run."""
    if plugins.is_built_in(spec):
        plugins.plugin(spec)
        return
    with contextlib.suppress(EndedProcess):
        plugins.rehearse_plugin(spec)


def options_of(given: RecipeOptions, usual: Protocols, tasks: Sequence[Task]) -> Options:
    """Returns the options with their defaults; raises `CommandError` for invalid ones. `usual`: the default protocol."""
    protocol, device = given.get("protocol") or usual, use_device(devices_of(given.get("device", "auto"))[0])
    rates, prepared = given.get("learning_rates"), usual if protocol in UNTRAINED else protocol
    usual_precision, shots = _precision(prepared, device), given.get("shots")
    options = Options(
        protocol=protocol,
        device=device,
        learning_rates=None if rates is None else rates_of(rates),
        seeds=seeds_of(given.get("seeds", (0,))),
        max_steps=given.get("max_steps"),
        layer=given.get("layer"),
        layers=None if given.get("layers") is None else tuple(given["layers"]),  # type: ignore[arg-type]
        chunk_seconds=given.get("chunk_seconds"),
        batch_seconds=unusual_batches(given.get("batch_seconds"), device),
        precision=given.get("precision") or usual_precision,
        limit=given.get("limit"),
        store_format=given.get("store_format", "float16"),
        variants=known_variants(names_of(given.get("variants", ())), tasks, every_variant()),
        shots=None if shots is None else shots_of(shots),
        draws=given.get("draws", DRAWS),
        prepared=prepared,
    )
    return replace(options, label=label_of(options, usual, usual_precision))


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
        settings=_path(given.get("settings")),
        out=Path(given["out"]),
        store=_path(given.get("store")) or default_root(),
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


def _path(given: Path | str | None) -> Path | None:
    return Path(given) if given else None


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


def _usual(corpora: Corpora) -> Protocols:
    """Returns the default protocol of a folder of corpora."""
    return "mini" if corpora.synthetic else "superb"


def every_variant() -> Iterator[str]:
    """Yields `task: name` for every variant of a registered task."""
    for task in plugins.tasks().values():
        yield from (f"{task.card.name}: {name}" for name in task.card.variants)


def _precision(protocol: Protocols, device: str) -> Precision:
    """Returns the default precision: half if the GPU supports it; single for the official protocol, as for published scores."""
    return "float32" if protocol == "superb" else fast_precision(device)


def _cost(card: Any, options: Options) -> float:
    """Returns an estimate of a job's cost, so that the longest jobs start first."""
    if not options.trains:
        return OTHER_WORK * (4.0 if card.reads == "frames" else 1.0)  # as measured in `superbench demo --few-shot`
    recipe = card.recipes[options.of(card).protocol]
    return OTHER_WORK + recipe.steps * recipe.batch * recipe.accumulate * (20.0 if card.reads == "frames" else 1.0)
