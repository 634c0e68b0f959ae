"""The arguments of a run, checked before anything is written: models, tasks, corpora and options."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Unpack

from superbench import plugins
from superbench.contract import UNTRAINED, Precision, Protocols, Task
from superbench.contract.corpora import Corpora
from superbench.errors import EndedProcess
from superbench.plugins import Spec, model_files
from superbench.results.draws import DRAWS
from superbench.runs.destination import label_of, placed
from superbench.runs.engines.choice import require_engine
from superbench.runs.given import names_of, rates_of, seeds_of, shots_of
from superbench.runs.jobs import Job
from superbench.runs.options import Options, RecipeOptions, RunOptions, check_names, known_variants, unusual_batches
from superbench.system.devices import devices_of, fast_precision, use_device
from superbench.system.ranges import require_number, require_whole
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
            Job(spec, name, self.files.get(name, "")): _cost(task, self.options)
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
    listed = [upstreams] if isinstance(upstreams, str) or callable(upstreams) else list(upstreams)
    specs = plugins.specs([model_files.text(upstream) for upstream in listed])
    chosen = plugins.tasks() if tasks == "all" else plugins.chosen(tasks)
    corpora = Corpora.at(Path(given["data"]), optional_path(given.get("settings")))
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


def _cost(task: Task, options: Options) -> float:
    """Returns an estimate of a job's cost, so that the longest jobs start first. More probes than those of the recipe cost
    proportionally more."""
    frames = task.card.reads == "frames"
    if not options.trains:
        return OTHER_WORK * (4.0 if frames else 1.0)  # as measured in `superbench demo --few-shot`
    recipe = options.recipe(task)
    probes = len(options.points(recipe)) / max(len(recipe.learning_rates), 1)
    return OTHER_WORK + recipe.steps * recipe.batch * recipe.accumulate * probes * (20.0 if frames else 1.0)


def optional_path(given: Path | str | None) -> Path | None:
    """Returns the path; None for nothing, and for an empty text."""
    return Path(given) if given else None
