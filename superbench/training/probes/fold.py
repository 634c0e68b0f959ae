"""Trains the sweep of one fold, evaluates it on dev, and keeps the best weights of every probe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from superbench.contract import Fold, Item, Outputs, Recipe, Task
from superbench.features.extraction import Extraction
from superbench.system.progress import Reporter
from superbench.system.seeding import seeded
from superbench.training.loop import fit
from superbench.training.probes.batches import BatchPlan, Traits
from superbench.training.probes.evaluation import decode
from superbench.training.probes.probe import Examples, FrameExamples, MeanExamples, Probe
from superbench.training.probes.sweep import Sweep
from superbench.training.probes.updates import Point
from superbench.training.tracking import NOTHING_TRACKED, Tracker

BEST = "best"


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of an experiment: task, recipe, grid, model sizes, device and output folder. `chosen`: the hidden states
    that are used; None for all."""

    task: Task
    recipe: Recipe
    points: tuple[Point, ...]
    layers: int
    dim: int
    device: str
    identity: str
    work: Path
    reporter: Reporter
    chosen: tuple[int, ...] | None = None
    tracker: Tracker = NOTHING_TRACKED


@dataclass(slots=True)
class Trained:
    """A fold whose sweep is trained. `dev[i]` is the best dev value of probe i (NaN if it diverged), and `steps[i]` the update
    at which it was reached. `log` has a row for every evaluation: `step`, and for each probe `loss`, `dev` and `skipped`."""

    fold: Fold
    sweep: Sweep
    dev: list[float]
    steps: list[int]
    log: list[Any]


def train(conditions: Conditions, fold: Fold, extraction: Extraction) -> Trained:
    """Train the complete grid on a fold; training resumes from a checkpoint if one exists."""
    task, recipe = conditions.task, conditions.recipe
    sweep = _sweep(conditions, fold, extraction)
    dev = examples_of(conditions, fold.dev.items, extraction)
    log: list[Any] = []
    better = max if task.select.higher_is_better else min

    def evaluate(step: int) -> None:
        """Evaluate every probe on dev, and keep its weights if they are the best so far."""
        steady = _steady(sweep, step, log)
        if not fold.dev.items:
            values = [math.nan] * len(steady)
            for number in range(len(steady)):
                sweep.keep(number, str(step))
        else:
            probes = [sweep.current(number) for number in range(len(steady))]
            outputs = decoded(conditions, probes, fold.dev.items, dev)
            values = [dev_value(task, fold, out) if fine else math.nan for out, fine in zip(outputs, steady, strict=True)]
        for number, value in enumerate(values):
            earlier = [row["dev"][number] for row in log if row["dev"][number] is not None]
            if not math.isnan(value) and (not earlier or better([*earlier, value]) != better(earlier)):
                sweep.keep(number, BEST)
        shown = [None if math.isnan(value) else value for value in values]
        log.append({"step": step, "loss": sweep.recent(), "dev": shown, "skipped": sweep.skipped.tolist()})
        conditions.tracker.log(step, _curves(fold.name, sweep.points, log[-1]))

    fit(
        sweep,
        steps=recipe.steps,
        evaluate_every=recipe.evaluate_every,
        evaluate=evaluate,
        log=log,
        checkpoint=conditions.work / f"{fold.name}.safetensors",
        identity=f"{conditions.identity}/{fold.name}",
        checkpoint_every=recipe.evaluate_every,
        reporter=conditions.reporter,
        stage="train" if fold.name == "all" else f"train {fold.name}",
    )
    return _trained(fold, sweep, log, better)


def _curves(fold: str, points: Sequence[Point], row: Mapping[str, Any]) -> dict[str, float | None]:
    """Return loss and dev value of every probe by name: `loss/lr 0.001 seed 0`, after the fold if there are several."""
    where = "" if fold == "all" else f"{fold}/"
    names = [f"lr {point.lr:g} seed {point.seed}" for point in points]
    return {f"{where}{part}/{name}": value for part in ("loss", "dev") for name, value in zip(names, row[part], strict=True)}


def _steady(sweep: Sweep, step: int, log: list[Any]) -> list[bool]:
    """Return False for each probe of which most updates since the last evaluation were skipped because of NaN: it has
    diverged, whatever it predicts."""
    updates = step - (log[-1]["step"] if log else 0)
    before = log[-1]["skipped"] if log else [0.0] * len(sweep.points)
    return [now - earlier <= updates / 2 for now, earlier in zip(sweep.skipped.tolist(), before, strict=True)]


def _trained(fold: Fold, sweep: Sweep, log: list[Any], better: Callable) -> Trained:
    dev, steps = [], []
    for number in range(len(sweep.points)):
        values = [(row["dev"][number], row["step"]) for row in log if row["dev"][number] is not None]
        best = better(value for value, _ in values) if values else math.nan
        dev.append(best)
        steps.append(next((step for value, step in values if value == best), log[-1]["step"]))
    return Trained(fold=fold, sweep=sweep, dev=dev, steps=steps, log=log)


def _sweep(conditions: Conditions, fold: Fold, extraction: Extraction) -> Sweep:
    task, recipe, items = conditions.task, conditions.recipe, fold.train.items
    assert task.head is not None
    probes = []
    for point in conditions.points:
        with seeded(point.seed):
            probes.append(Probe(task.head(conditions.dim, fold, recipe), conditions.layers).to(conditions.device))
    encode = cast(Any, probes[0].head).encode
    targets = [encode(item.label) for item in items]
    samples = [extraction.samples(item.audio) for item in items]
    traits = Traits(samples, [target.numel() for target in targets], [str(item.label) for item in items])
    plan = BatchPlan(recipe, traits)
    return Sweep(conditions.points, probes, recipe, plan, examples_of(conditions, items, extraction), targets)


def examples_of(conditions: Conditions, items: Sequence[Item], extraction: Extraction) -> Examples:
    """Return the items as the task's heads read them: time-averaged features, or frames."""
    examples = MeanExamples.of if conditions.task.card.reads == "mean" else FrameExamples
    return examples(items, extraction, conditions.device)


def decoded(conditions: Conditions, probes: Sequence[Probe], items: Sequence[Item], examples: Examples) -> list[Outputs]:
    """Return what each probe's head decodes for the items."""
    return list(decode(probes, items, examples, conditions.recipe.evaluate_batch))


def dev_value(task: Task, fold: Fold, outputs: Outputs) -> float:
    """Return the value that is compared on dev: that of `Selection.dev`, or the score `Selection.metric`."""
    if task.select.dev is not None:
        return task.select.dev(fold.dev, outputs)
    _, predictions = next(iter(task.select.candidates(fold.name, fold.dev, outputs, None)))
    return task.score(predictions, fold.dev.facts)[task.select.metric].value
