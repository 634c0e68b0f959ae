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
from typing import Any

from superbench import registry, scripts
from superbench.bench import Ended, Job, Plan, State, Watcher, inline
from superbench.contract import Precision, Protocols, Task
from superbench.corpora import Corpora
from superbench.destination import label_of, placed
from superbench.errors import CommandError
from superbench.features.store import Store, default_root
from superbench.html import tables, text
from superbench.locks import require_locks
from superbench.notebook import usual_watcher
from superbench.options import Options, known_variants
from superbench.ranges import require_number, require_whole
from superbench.registry import Spec
from superbench.schema import Result
from superbench.user import settle
from superbench.workers import parallel

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

    def into(self, out: Path) -> Asked:
        """The same with each upstream under the name that its results get in the folder `out`."""
        names = [placed(spec, out, self.options.label, _usual(self.corpora)) for spec in self.specs]
        return replace(self, specs=names)

    @property
    def jobs(self) -> dict[Job, float]:
        """Every job with its rough share of the work, the longest first."""
        shares = {Job(spec, name): _cost(task.card, self.options) for spec in self.specs for name, task in self.tasks.items()}
        return dict(sorted(shares.items(), key=lambda share: -share[1]))


def asked(
    upstreams: Sequence[str | Callable],
    tasks: Sequence[str] | str = "all",
    *,
    data: Path,
    protocol: Protocols | None = None,
    device: str = "auto",
    learning_rates: Sequence[float] | None = None,
    seeds: Sequence[int] = (0,),
    max_steps: int | None = None,
    layer: int | None = None,
    chunk_seconds: float | None = None,
    precision: Precision | None = None,
    variants: Sequence[str] = (),
    settings: Path | None = None,
) -> Asked:
    """Look whether a run is possible; the arguments are those of `run`. Raises `CommandError` where it is not."""
    corpora = Corpora.at(data, settings)
    specs = registry.specs([scripts.text(one) for one in upstreams])
    names = [one.name for one in registry.listed(registry.TASKS)] if tasks == "all" else _names(tasks)
    found = {name: registry.task(name) for name in names}
    usual = _usual(corpora)
    protocol = protocol or usual
    options = Options(
        protocol,
        device_of(device),
        None if learning_rates is None else tuple(map(float, learning_rates)),
        tuple(sorted(seeds)),
        max_steps,
        layer,
        chunk_seconds,
        precision or _precision(protocol, device_of(device)),
        known_variants(variants, found.values(), every_variant()),
    )
    options = replace(options, label=label_of(options, usual, _precision(protocol, options.device)))
    for task in found.values():
        options.recipe(task)
    for spec in specs:
        registry.plugin(spec)
    return Asked(corpora, specs, found, options, tasks == "all")


def run(
    upstreams: Sequence[str | Callable],
    tasks: Sequence[str] | str = "all",
    *,
    data: Path | str,
    out: Path | str,
    protocol: Protocols | None = None,
    device: str = "auto",
    learning_rates: Sequence[float] | None = None,
    seeds: Sequence[int] = (0,),
    max_steps: int | None = None,
    layer: int | None = None,
    chunk_seconds: float | None = None,
    precision: Precision | None = None,
    variants: Sequence[str] = (),
    workers: int | None = None,
    store: Path | str | None = None,
    store_gb: float | None = None,
    settings: Path | str | None = None,
    redo: bool = False,
    debug: bool = False,
    watcher: Watcher | None = None,
) -> Report:
    """Run `tasks` (names, or "all" that have their corpora under `data`) on `upstreams`; results go to `out`.

    An upstream is a spec, or a class or function at the top level of a file.

    In a notebook, progress is drawn below the cell unless `watcher` is given.

    `protocol` defaults to `mini` on corpora that `superbench data synth` wrote, else to `superb`. `variants` are names that the
    cards of the tasks declare. With `redo`, results and features that are there are made again. Raises `CommandError` for an
    impossible command; a job that fails is in the report, and does not stop the others.
    """
    began = time.perf_counter()
    settle()
    since = time.time() if redo else None
    if reading := scripts.being_read():
        raise CommandError(
            f"{reading} calls superbench.run while it is read for its model, and would do so without end. Put the call under: "
            "if __name__ == '__main__':"
        )
    data, out = Path(data), Path(out)
    settings = Path(settings) if settings else None
    wanted = asked(
        upstreams, tasks, data=data, protocol=protocol, device=device, learning_rates=learning_rates, seeds=seeds,
        max_steps=max_steps, layer=layer, chunk_seconds=chunk_seconds, precision=precision, variants=variants,
        settings=settings,
    ).into(out)  # fmt: skip
    if workers is not None:
        require_whole("--workers", workers, least=1)
    if store_gb is not None:
        require_number("--store-gb", store_gb, least=0)
    options, shares = replace(wanted.options, redo_since=since), wanted.jobs
    jobs = list(shares)
    count = max(1, min(workers or default_workers(options.device), len(jobs)))
    budget = None if store_gb is None else round(store_gb * 1e9)
    threads, root = max(1, _cores() // count), Path(store) if store else default_root()
    plan = Plan(data, settings, out, root, budget, options, wanted.lenient, threads, debug)
    require_locks(out, f"--out {out}")
    require_locks(root, f"--store {root}")
    Store(root).close()  # an index of a newer version, or a damaged one, is said before any work
    report = Report()
    audience = watcher or usual_watcher()
    audience.planned(shares)
    for ended in inline(jobs, plan, audience) if count == 1 else parallel(jobs, plan, count, audience):
        report.ended.append(ended)
        _record(plan.out, ended)
        audience.ended(ended)
    report.seconds = time.perf_counter() - began
    return report


def _usual(corpora: Corpora) -> Protocols:
    """The protocol of a root where none is named."""
    return "mini" if corpora.synthetic else "superb"


def default_workers(device: str) -> int:
    """One process per two cores at most, two at least where there are two cores; one on a GPU."""
    return 1 if device == "cuda" else max(1, min(_cores(), max(2, _cores() // 2)))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _names(tasks: Sequence[str] | str) -> list[str]:
    names = tasks.split(",") if isinstance(tasks, str) else list(tasks)
    if not names or not all(names):
        raise CommandError("--tasks names no task. Expected all, or names such as pr,ks; `superbench list tasks` shows them.")
    return list(dict.fromkeys(names))


def every_variant() -> Iterator[str]:
    """`task: name` of every registered task's variants; looked at only where one is not known."""
    for one in registry.listed(registry.TASKS):
        yield from (f"{one.name}: {name}" for name in registry.task(one.name).card.variants)


def device_of(device: str) -> str:
    """`cuda` or `cpu` for `auto`; raises `CommandError` for a device that is not there."""
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise CommandError(f"--device {device!r}: expected auto, cpu or cuda.")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise CommandError("--device cuda: torch finds no CUDA device here. Use --device cpu, or auto.")
    return device


def _precision(protocol: Protocols, device: str) -> Precision:
    """Half precision where a GPU has it; but the official protocol's published numbers were made in single precision."""
    import torch

    fast = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if fast and protocol != "superb" else "float32"


def _cost(card: Any, options: Options) -> float:
    """A rough order of expense, so that the longest jobs start first."""
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
    with (out / "ledger.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
