"""Functions for callers in Python that do the same as commands of the command line, and return values instead of text."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, Unpack

from superbench import plugins
from superbench.contract.corpora import Corpora
from superbench.contract.paths import expanded
from superbench.features.store import default_root
from superbench.plugins import Loaded, Spec
from superbench.plugins.doctor.examination import LONG_SECONDS, Examination, examine, examined
from superbench.plugins.doctor.long_sound import QUICK_SECONDS
from superbench.results.diff.compare import Comparison, compare as compared
from superbench.results.diff.sides import Side, side
from superbench.runs import forecast as forecasts
from superbench.runs.asked import options_of
from superbench.runs.conformance import conform
from superbench.runs.forecast import Forecast
from superbench.runs.options import RecipeOptions, check_names
from superbench.system.background import in_child
from superbench.system.devices import device_of
from superbench.system.progress import Reporter, Silence

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of `check` for an upstream or a task; `facts` of an upstream are revision, params, hop, layers and dim."""

    name: str
    kind: Literal["upstream", "task"]
    examination: Examination
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether it keeps its contract."""
        return self.examination.healthy

    @property
    def reasons(self) -> list[str]:
        """The reasons why it does not."""
        return self.examination.reasons


def check(
    name: str, *, quick: bool = False, device: str = "auto", data: Path | str | None = None, reporter: Reporter | None = None
) -> Check:
    """Checks whether an upstream (a spec) or a task (its name, or `file.py:TASK`) keeps its contract.

    `quick`: the long sound has 12 s in place of 60 s. `data`: the folder with the corpus of a task that has no miniature; by
    default that of the task's file. Raises `UnknownName`, `BrokenPlugin`, `BadCheckpoint`, `CommandError`.
    """
    work = partial(_checked, name, quick=quick, device=device, data=None if data is None else Path(data))
    return run_apart(work, reporter or Silence(), name, built_in=_is_built_in(name))


def run_apart(work: Callable[[Reporter], Outcome], reporter: Reporter, what: str, *, built_in: bool) -> Outcome:
    """The value of `work`: computed in a child process unless superbench brings all the code that it calls. Raises
    `EndedProcess` if that code, which `what` names, ends its process."""
    here = built_in or multiprocessing.current_process().daemon  # a daemonic process has no children, and somebody who waits
    return work(reporter) if here else in_child(work, reporter, what)


def _is_built_in(name: str) -> bool:
    if name in {row.name for row in plugins.list_tasks()}:
        return plugins.is_built_in_task(name)
    if plugins.is_file(name):
        return False
    return plugins.is_built_in(plugins.parse(name))


def _checked(name: str, reporter: Reporter, *, quick: bool, device: str, data: Path | None) -> Check:
    if name in {row.name for row in plugins.list_tasks()} or plugins.is_task_file(name):
        beside = expanded(name.rpartition(":")[0]).parent if plugins.is_file(name) else None
        folder = data or beside
        corpora = None if folder is None else Corpora.at(folder)
        return Check(name, "task", conform(plugins.task(name), reporter=reporter, corpora=corpora))
    device = device_of(device)
    upstream = plugins.upstream(plugins.parse(name), device)
    facts = {fact: getattr(upstream, fact) for fact in ("revision", "params", "hop", "layers", "dim")}
    seconds = QUICK_SECONDS if quick else LONG_SECONDS
    return Check(name, "upstream", examine(upstream, device, seconds=seconds, reporter=reporter), facts)


def compare(
    a: Side | Path | str, b: Side | Path | str, tasks: Sequence[str] = (), items: int = 5, reporter: Reporter | None = None
) -> list[Comparison]:
    """Explains why the scores of two sides differ, for each task that both have (or those of `tasks`).

    A side is a result folder, a result.json, an upstream's folder, or a published row (`published:HuBERT Base`). `items`:
    number of test items to list for each side. Raises `CommandError`, `BadResult`.
    """
    first, second = (value if isinstance(value, Side) else side(str(value)) for value in (a, b))
    return compared(first, second, plugins.names_of(tasks), items, reporter)


def forecast(
    upstream: str,
    tasks: Sequence[str] | str = "all",
    *,
    data: Path | str | None = None,
    store: Path | str | None = None,
    reporter: Reporter | None = None,
    gpus: int = 1,
    **options: Unpack[RecipeOptions],
) -> Forecast:
    """Estimates the cost of a run: hours of sound through the model, bytes on disk, the time of the upstream and of the heads.

    Without `data`, the sizes are those of the official corpora. Nothing is trained or stored; only the speed of the upstream
    and of the heads is measured on this device, on noise. `gpus`: devices like this one that share the work. The options are
    those of `RecipeOptions`. Raises `CommandError` for an invalid option.
    """
    check_names(options, RecipeOptions)
    work = partial(_forecast, upstream, tasks, data, store, gpus, options)
    own = [plugins.is_built_in(plugins.parse(upstream)), *map(plugins.is_built_in_task, plugins.task_names(tasks))]
    return run_apart(work, reporter or Silence(), upstream, built_in=all(own))


def _forecast(
    upstream: str,
    tasks: Sequence[str] | str,
    data: Path | str | None,
    store: Path | str | None,
    gpus: int,
    options: RecipeOptions,
    reporter: Reporter,
) -> Forecast:
    corpora = Corpora.at(Path(data)) if data else None
    chosen = list(plugins.chosen(tasks).values())
    complete = options_of(options, "mini" if corpora and corpora.synthetic else "superb", chosen)
    root = Path(store) if store else default_root()
    model = healthy(plugins.parse(upstream), complete.device, root)
    return forecasts.forecast(model, chosen, complete, root, corpora, reporter, gpus)


def healthy(spec: Spec, device: str, store: Path, *, remember: bool = True) -> Loaded:
    """Loads and examines the upstream of a spec; raises `BadUpstream` if it does not keep the contract."""
    loaded = plugins.upstream(spec, device)
    examination = examined(loaded, device, store / "certificates", remember=remember)
    examination.certificate()
    return replace(loaded, batching=examination.batching)
