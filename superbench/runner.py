"""Many jobs: every upstream on every task, in worker processes, with a ledger that a person can read.

A job that fails loses nothing but itself: its message goes into `failure.json`, the others go on. A run that was killed is
repeated with the same command: finished jobs are found, stored features are used, training goes on from its checkpoint.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from superbench import registry, scripts
from superbench.contract import Protocols
from superbench.corpora import Corpora
from superbench.errors import CommandError
from superbench.features.store import default_root
from superbench.options import Options
from superbench.results import Result
from superbench.workers import Ended, Job, Nobody, Plan, State, Watcher, inline, parallel


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
    workers: int | None = None,
    store: Path | str | None = None,
    store_gb: float | None = None,
    settings: Path | str | None = None,
    debug: bool = False,
    watcher: Watcher | None = None,
) -> Report:
    """Run `tasks` (names, or "all" that have their corpora under `data`) on `upstreams`; results go to `out`.

    An upstream is a spec, or a class or function at the top level of a file.

    `protocol` defaults to `mini` on corpora that `superbench data synth` wrote, else to `superb`. Raises `CommandError` for
    an impossible command; a job that fails is in the report, and does not stop the others.
    """
    began = time.perf_counter()
    if reading := scripts.being_read():
        raise CommandError(
            f"{reading} calls superbench.run while it is read for its model, and would do so without end. Put the call under: "
            "if __name__ == '__main__':"
        )
    data, out = Path(data), Path(out)
    settings = Path(settings) if settings else None
    corpora = Corpora.at(data, settings)
    specs = registry.specs([scripts.text(one) for one in upstreams])
    names = [one.name for one in registry.listed(registry.TASKS)] if tasks == "all" else _names(tasks)
    options = Options(
        protocol or ("mini" if corpora.synthetic else "superb"),
        device_of(device),
        tuple(learning_rates) if learning_rates else None,
        tuple(sorted(seeds)),
        max_steps,
        layer,
        chunk_seconds,
    )
    loaded_tasks = {name: registry.task(name) for name in names}
    for task in loaded_tasks.values():
        options.recipe(task)
    for spec in specs:
        registry.plugin(spec)
    shares = {Job(spec, name): _cost(loaded_tasks[name].card, options) for spec in specs for name in names}
    jobs = sorted(shares, key=lambda job: -shares[job])
    count = max(1, min(workers or default_workers(options.device), len(jobs)))
    budget = None if store_gb is None else round(store_gb * 1e9)
    plan = Plan(
        data,
        settings,
        out,
        Path(store) if store else default_root(),
        budget,
        options,
        tasks == "all",
        max(1, _cores() // count),
        debug,
    )
    out.mkdir(parents=True, exist_ok=True)
    report = Report()
    audience = watcher or Nobody()
    audience.planned(shares)
    for ended in inline(jobs, plan, audience) if count == 1 else parallel(jobs, plan, count, audience):
        report.ended.append(ended)
        _record(plan.out, ended)
        audience.ended(ended)
    report.seconds = time.perf_counter() - began
    return report


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


def device_of(device: str) -> str:
    """`cuda` or `cpu` for `auto`; raises `CommandError` for a device that is not there."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise CommandError("--device cuda: torch finds no CUDA device here. Use --device cpu, or auto.")
    return device


def _cost(card: Any, options: Options) -> float:
    """A rough order of expense, so that the longest jobs start first."""
    recipe = card.recipes[options.protocol]
    return recipe.steps * recipe.batch * recipe.accumulate * (20.0 if card.reads == "frames" else 1.0)


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
    with (out / "ledger.jsonl").open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
