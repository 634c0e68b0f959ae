"""Many jobs: every upstream on every task, in worker processes, with a ledger that a person can read.

A job that fails loses nothing but itself: its message goes into `failure.json`, the others go on. A run that was killed is
repeated with the same command: finished jobs are found, stored features are used, training goes on from its checkpoint.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

from superbench import plugins
from superbench.contract import UNTRAINED, Precision, Protocols, Task
from superbench.contract.corpora import Corpora
from superbench.errors import CommandError
from superbench.features.store import Store, default_root
from superbench.plugins import Spec, model_files
from superbench.plugins.tracing import modules_kept
from superbench.results import Result
from superbench.results.draws import DRAWS
from superbench.results.html import tables, text
from superbench.runs.destination import label_of, placed
from superbench.runs.jobs import Ended, Job, RunPlan, State, Watcher
from superbench.runs.notebook import usual_watcher
from superbench.runs.options import Options, RecipeOptions, RunOptions, check_names, known_variants
from superbench.runs.pool import parallel
from superbench.runs.worker import failed, inline
from superbench.system.devices import device_of, fast_precision
from superbench.system.locks import require_locks
from superbench.system.ranges import require_number, require_whole
from superbench.system.user import settle

OTHER_WORK = 30_000.0
"""What a job takes besides its updates, in utterances that a head on means learns from: reading, extracting, scoring."""


@dataclass(slots=True)
class Report:
    """What a run came to. `seconds` is the wall time."""

    ended: list[Ended] = field(default_factory=list)
    seconds: float = 0.0

    def of(self, *states: State) -> list[Ended]:
        """The jobs that ended so."""
        return [one for one in self.ended if one.state in states]

    @property
    def results(self) -> list[Result]:
        """All results, new and found."""
        return [one.result for one in self.ended if one.result is not None]

    def _repr_html_(self) -> str:
        """What a notebook shows: the results as tables, the jobs without a result, the wall time."""
        lines = [f"{one.job}: {one.state}. {one.message}" for one in self.ended if one.result is None]
        below = "".join(f"<br>{text(line)}" for line in [*lines, f"{self.seconds:.0f} s"])
        return (tables(self.results) if self.results else "") + below


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked for, found possible: nothing is loaded but the tasks, and nothing is written."""

    corpora: Corpora
    specs: list[Spec]
    tasks: dict[str, Task]
    options: Options
    lenient: bool
    broken: dict[str, str] = field(default_factory=dict)

    def into(self, out: Path) -> Asked:
        """The same with each upstream under the name that its results get in the folder `out`."""
        names = [placed(spec, out, self.options, _usual(self.corpora)) for spec in self.specs]
        return replace(self, specs=names)

    @property
    def jobs(self) -> dict[Job, float]:
        """Every job with its rough share of the work, the longest first."""
        shares = {Job(spec, name): _cost(task.card, self.options) for spec in self.specs for name, task in self.tasks.items()}
        return dict(sorted(shares.items(), key=lambda share: -share[1]))


def asked(upstreams: Sequence[str | Callable], tasks: Sequence[str] | str = "all", **given: Unpack[RunOptions]) -> Asked:
    """Look whether a run is possible; the arguments are those of `run`. Raises `CommandError` where it is not."""
    check_names(given, needed=["data"])
    corpora = Corpora.at(Path(given["data"]), _path(given.get("settings")))
    specs = plugins.specs([model_files.text(upstream) for upstream in upstreams])
    chosen = plugins.tasks() if tasks == "all" else {name: _named(name) for name in plugins.task_names(tasks)}
    options = replace(
        options_of(given, _usual(corpora), list(chosen.values())), redo_since=time.time() if given.get("redo") else None
    )
    for task in chosen.values():
        options.recipe(task)
    with modules_kept():
        for spec in specs:
            plugins.plugin(spec)
    if given.get("workers") is not None:
        require_whole("--workers", given["workers"], least=1)  # type: ignore[arg-type]
    if given.get("store_gb") is not None:
        require_number("--store-gb", given["store_gb"], least=0)  # type: ignore[arg-type]
    return Asked(
        corpora=corpora,
        specs=specs,
        tasks=chosen,
        options=options,
        lenient=tasks == "all",
        broken=plugins.broken() if tasks == "all" else {},
    )


def _named(name: str) -> Task:
    """A task that was asked for by its name; raises `BrokenPlugin` where a plugin takes the name of another."""
    found = plugins.task(name)
    plugins.refuse_claimed(plugins.TASKS, "task", name)
    return found


def options_of(given: RecipeOptions, usual: Protocols, tasks: Sequence[Task]) -> Options:
    """The options with every default in its place; raises `CommandError` for impossible ones. `usual`: the protocol where none
    is given."""
    protocol, device = given.get("protocol") or usual, device_of(given.get("device", "auto"))
    rates, prepared = given.get("learning_rates"), usual if protocol in UNTRAINED else protocol
    usual_precision, shots = _precision(prepared, device), given.get("shots")
    options = Options(
        protocol=protocol,
        device=device,
        learning_rates=None if rates is None else tuple(map(float, rates)),
        seeds=tuple(sorted(given.get("seeds", (0,)))),
        max_steps=given.get("max_steps"),
        layer=given.get("layer"),
        chunk_seconds=given.get("chunk_seconds"),
        precision=given.get("precision") or usual_precision,
        variants=known_variants(given.get("variants", ()), tasks, every_variant()),
        shots=None if shots is None else tuple(shots),
        draws=given.get("draws", DRAWS),
        prepared=prepared,
    )
    return replace(options, label=label_of(options, usual, usual_precision))


def run(upstreams: Sequence[str | Callable], tasks: Sequence[str] | str = "all", **options: Unpack[RunOptions]) -> Report:
    """Run `tasks` (names, or "all" that have their corpora under `data`) on `upstreams`; results go to the folder `out`.

    An upstream is a spec, or a class or function at the top level of a file. The options are those of `RunOptions`. Raises
    `CommandError` for an impossible command; a job that fails is in the report, and does not stop the others. In a notebook,
    progress is drawn below the cell unless `watcher` is given.

    >>> run(["fbank"], ["ks", "ic"], data="corpora", out="results", max_steps=100)  # doctest: +SKIP
    """
    began = time.perf_counter()
    settle()
    if reading := model_files.being_read():
        raise CommandError(
            f"{reading} calls superbench.run while it is read for its model, and would do so without end. Put the call under: "
            "if __name__ == '__main__':"
        )
    check_names(options, needed=["data", "out"])
    wanted = asked(upstreams, tasks, **options).into(Path(options["out"]))
    plan, count = _plan(wanted, options)
    audience, report = options.get("watcher") or usual_watcher(), Report()
    for ended in _ended(wanted, plan, count, audience):
        report.ended.append(ended)
        _record(plan.out, ended)
        audience.ended(ended)
    report.seconds = time.perf_counter() - began
    return report


def processes(given: RunOptions, wanted: Asked) -> int:
    """How many worker processes a run takes."""
    return max(1, min(given.get("workers") or default_workers(wanted.options.device), len(wanted.jobs)))


def _plan(wanted: Asked, given: RunOptions) -> tuple[RunPlan, int]:
    """What workers need to know, and how many there are; sees before any work that results and features can be written."""
    count, gigabytes = processes(given, wanted), given.get("store_gb")
    plan = RunPlan(
        data=Path(given["data"]),
        settings=_path(given.get("settings")),
        out=Path(given["out"]),
        store=_path(given.get("store")) or default_root(),
        budget=None if gigabytes is None else round(gigabytes * 1e9),
        options=wanted.options,
        lenient=wanted.lenient,
        threads=max(1, _cores() // count),
        debug=given.get("debug", False),
    )
    require_locks(plan.out, f"--out {plan.out}")
    require_locks(plan.store, f"--store {plan.store}")
    return plan, count


def _path(given: Path | str | None) -> Path | None:
    return Path(given) if given else None


def _ended(wanted: Asked, plan: RunPlan, count: int, audience: Watcher) -> Iterator[Ended]:
    """The jobs as they end, those of broken plugins first. An index of a newer version, or a damaged one, is said before any
    work."""
    shares = wanted.jobs
    with Store(plan.store) as opened:
        remarks = opened.remarks()
    remarks += [text for name, text in wanted.broken.items() if name in wanted.tasks]  # plugins that take a built-in's name
    audience.planned(shares)
    jobs = list(shares)
    for remark in remarks:
        audience.note(jobs[0], remark)
    yield from _broken(wanted, plan)
    yield from inline(jobs, plan, audience) if count == 1 and _trusted(wanted) else parallel(jobs, plan, count, audience)


def _trusted(wanted: Asked) -> bool:
    """Does superbench bring all the code of a run? Other code may end the process that it runs in: it gets one of its own."""
    return all(plugins.is_built_in(spec) for spec in wanted.specs) and all(map(plugins.is_built_in_task, wanted.tasks))


def _broken(wanted: Asked, plan: RunPlan) -> Iterator[Ended]:
    """The jobs of tasks whose plugins are broken."""
    for name in wanted.broken.keys() - wanted.tasks.keys():
        yield from (failed(Job(spec, name), plan, "BrokenPlugin", wanted.broken[name]) for spec in wanted.specs)


def _usual(corpora: Corpora) -> Protocols:
    """The protocol of a root where none is named."""
    return "mini" if corpora.synthetic else "superb"


def default_workers(device: str) -> int:
    """One process per two cores at most, two at least where there are two cores; one on a GPU."""
    return 1 if device == "cuda" else max(1, min(_cores(), max(2, _cores() // 2)))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def every_variant() -> Iterator[str]:
    """`task: name` of every registered task's variants; looked at only where one is not known."""
    for task in plugins.tasks().values():
        yield from (f"{task.card.name}: {name}" for name in task.card.variants)


def _precision(protocol: Protocols, device: str) -> Precision:
    """The usual precision: half where a GPU has it; the official protocol's published numbers were made in single precision."""
    return "float32" if protocol == "superb" else fast_precision(device)


def _cost(card: Any, options: Options) -> float:
    """A rough order of expense, so that the longest jobs start first."""
    if not options.trains:
        return OTHER_WORK * (20.0 if card.reads == "frames" else 1.0)
    recipe = card.recipes[options.protocol]
    return OTHER_WORK + recipe.steps * recipe.batch * recipe.accumulate * (20.0 if card.reads == "frames" else 1.0)


def _record(out: Path, ended: Ended) -> None:
    """One line per finished job: when, which, how, and its score."""
    line: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%d %H:%M:%S"), "upstream": ended.job.spec.alias, "task": ended.job.task,
        "state": ended.state,
    }  # fmt: skip
    if ended.result is not None:
        line |= {
            ended.result.primary: ended.result.scores[ended.result.primary].value,
            "job": ended.result.environment.get("job"),
        }
    else:
        line["message"] = ended.message.partition("\n")[0]
    with (out / plugins.LEDGER).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
