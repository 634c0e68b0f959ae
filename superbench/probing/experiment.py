"""One task on one upstream: train the sweep of every fold, choose on dev, test once.

Nothing here knows a task: what differs between them is in their `Selection` and their heads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from superbench.contract import Fold, Item, Outputs, Prediction, Recipe, Score, Setting, Split, Task
from superbench.errors import BadHead
from superbench.features.extraction import Extraction, means
from superbench.probing.batches import BatchPlan, Traits
from superbench.probing.evaluation import decode
from superbench.probing.probe import Examples, FrameExamples, MeanExamples, Probe
from superbench.probing.sweep import Point, SideBySide, Stacked, Sweep
from superbench.probing.training import fit, seeded
from superbench.reporting import Reporter

BEST = "best"


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that an experiment is made under."""

    task: Task
    recipe: Recipe
    points: tuple[Point, ...]
    layers: int
    dim: int
    device: str
    identity: str
    work: Path
    reporter: Reporter


@dataclass(slots=True)
class Outcome:
    """What an experiment found: receipts of the sweep, what was chosen, test predictions and their scores."""

    sweep: list[dict[str, Any]] = field(default_factory=list)
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    predictions: list[Prediction] = field(default_factory=list)
    scores: dict[str, Score] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    layer_weights: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0


@dataclass(slots=True)
class Trained:
    """A fold whose sweep is trained. `dev[i]` is the best dev value of probe i and `steps[i]` when it came; NaN where it
    diverged."""

    fold: Fold
    sweep: Sweep
    dev: list[float]
    steps: list[int]
    kept: list[int]


def experiment(conditions: Conditions, folds: Sequence[Fold], extraction: Extraction) -> Outcome:
    """Run all folds; raises `BadHead` if every learning rate diverged."""
    began = time.perf_counter()
    trained = [_train(conditions, fold, extraction) for fold in folds] if conditions.task.head else []
    middle = time.perf_counter()
    if trained:
        outcome = _choose_and_test(conditions, trained, extraction)
    else:
        outcome = _untrained(conditions, folds, extraction)
    outcome.train_seconds, outcome.evaluate_seconds = middle - began, time.perf_counter() - middle
    return outcome


# ---------------------------------------------------------------- training


def _train(conditions: Conditions, fold: Fold, extraction: Extraction) -> Trained:
    task, recipe = conditions.task, conditions.recipe
    sweep = _sweep(conditions, fold, extraction)
    dev = _examples(conditions, fold.dev.items, extraction)
    log: list[Any] = []
    better = max if task.select.higher_is_better else min

    def evaluate(step: int) -> None:
        values = []
        for number in range(len(sweep.points)):
            value = math.nan
            if fold.dev.items:
                value = dev_value(task, fold, _decoded(conditions, [sweep.current(number)], fold.dev.items, dev)[0])
                earlier = [row["dev"][number] for row in log if row["dev"][number] is not None]
                if not math.isnan(value) and (not earlier or better([*earlier, value]) != better(earlier)):
                    sweep.keep(number, BEST)
            else:
                sweep.keep(number, str(step))
            values.append(None if math.isnan(value) else value)
        log.append({"step": step, "dev": values})

    fit(
        sweep,  # type: ignore[arg-type]
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
    return _receipts(fold, sweep, log, better)


def _receipts(fold: Fold, sweep: Sweep, log: list[Any], better: Callable) -> Trained:
    dev, steps = [], []
    for number in range(len(sweep.points)):
        seen = [(row["dev"][number], row["step"]) for row in log if row["dev"][number] is not None]
        best = better(value for value, _ in seen) if seen else math.nan
        dev.append(best)
        steps.append(next((step for value, step in seen if value == best), log[-1]["step"]))
    return Trained(fold, sweep, dev, steps, [row["step"] for row in log])


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
    kind = Stacked if task.card.reads == "mean" else SideBySide
    return kind(conditions.points, probes, recipe, plan, _examples(conditions, items, extraction), targets)


def _examples(conditions: Conditions, items: Sequence[Item], extraction: Extraction) -> Examples:
    if conditions.task.card.reads == "mean":
        values = (
            means(extraction, [item.audio for item in items]) if items else torch.empty(0, conditions.layers, conditions.dim)
        )
        return MeanExamples(values, conditions.device)
    return FrameExamples(items, extraction, conditions.device)


def _decoded(conditions: Conditions, probes: Sequence[Probe], items: Sequence[Item], examples: Examples) -> list[Outputs]:
    return list(decode(probes, items, examples, conditions.recipe.evaluate_batch))


def dev_value(task: Task, fold: Fold, outputs: Outputs) -> float:
    """The number by which dev is judged: `Selection.dev`, or the score of that name."""
    if task.select.dev is not None:
        return task.select.dev(fold.dev, outputs)
    _, predictions = next(iter(task.select.candidates(fold.name, fold.dev, outputs, None)))
    return task.score(predictions, fold.dev.facts)[task.select.metric].value


# ---------------------------------------------------------------- choosing and testing


def _choose_and_test(conditions: Conditions, trained: Sequence[Trained], extraction: Extraction) -> Outcome:
    outcome = Outcome()
    for run in trained:
        for point, dev, step in zip(conditions.points, run.dev, run.steps, strict=True):
            outcome.sweep.append(_row(run.fold.name, point, dev, step))
    if conditions.task.select.checkpoints:
        _test_checkpoints(conditions, trained[0], extraction, outcome)
        return outcome
    number = _best_point(conditions, trained)
    for run in trained:
        probe = run.sweep.probe(number, BEST)
        point = conditions.points[number]
        outputs = _test_outputs(conditions, run, [probe], extraction)[0]
        setting, predictions = _best_setting(conditions, run.fold, run.fold.test, outputs, outcome)
        name = run.fold.name
        outcome.chosen[name] = {"lr": point.lr, "seed": point.seed, "step": run.steps[number], "setting": dict(setting)}
        outcome.predictions += predictions
        outcome.facts |= run.fold.test.facts
        outcome.layer_weights[name] = probe.layer_weights()
    outcome.scores = conditions.task.score(outcome.predictions, outcome.facts)
    return outcome


def _row(fold: str, point: Point, dev: float, steps: int, setting: Setting | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "fold": fold,
        "lr": point.lr,
        "seed": point.seed,
        "dev": dev,
        "steps": steps,
        "setting": dict(setting or {}),
    }
    if math.isnan(dev):
        row |= {"dev": None, "status": "diverged"}
    return row


def _best_point(conditions: Conditions, trained: Sequence[Trained]) -> int:
    """The learning rate of best dev value, averaged over folds; among seeds the lowest is reported."""
    lowest = min(point.seed for point in conditions.points)
    sign = 1.0 if conditions.task.select.higher_is_better else -1.0
    averages = {
        i: sign * sum(run.dev[i] for run in trained) / len(trained)
        for i, point in enumerate(conditions.points)
        if point.seed == lowest and not any(math.isnan(run.dev[i]) for run in trained)
    }
    if not averages:
        rates = ", ".join(f"{point.lr:g}" for point in conditions.points)
        raise BadHead(f"{conditions.task.card.name}: every learning rate diverged ({rates}). Try smaller ones: --lr 1e-5,1e-6")
    return max(averages, key=lambda i: averages[i])


def _test_outputs(conditions: Conditions, run: Trained, probes: Sequence[Probe], extraction: Extraction) -> list[Outputs]:
    items = run.fold.test.items
    return _decoded(conditions, probes, items, _examples(conditions, items, extraction))


def _best_setting(
    conditions: Conditions, fold: Fold, split: Split, outputs: Outputs, outcome: Outcome
) -> tuple[Setting, list[Prediction]]:
    """The candidate of best primary score on this split; official where the protocol chooses on test, and then noted."""
    task, primary = conditions.task, conditions.task.card.primary
    candidates = list(task.select.candidates(fold.name, split, outputs, None))
    if len(candidates) == 1:
        return candidates[0]
    scored = [(task.score(predictions, split.facts)[primary], setting, predictions) for setting, predictions in candidates]
    sign = 1.0 if scored[0][0].higher_is_better else -1.0
    best = max(scored, key=lambda entry: sign * entry[0].value)
    values = ", ".join(f"{_words(setting)}: {score.value:.2f}" for score, setting, _ in scored)
    outcome.notes.append(
        f"{primary} of the {len(scored)} settings, the best chosen on {split.name}, as the official protocol does: {values}"
    )
    return best[1], best[2]


def _words(setting: Setting) -> str:
    return " ".join(f"{name} {value}" for name, value in setting.items())


def _test_checkpoints(conditions: Conditions, run: Trained, extraction: Extraction, outcome: Outcome) -> None:
    """ASV: every kept checkpoint of every learning rate is tested, the best reported, as the official protocol does."""
    task, primary, fold = conditions.task, conditions.task.card.primary, run.fold
    lowest = min(point.seed for point in conditions.points)
    best: tuple[float, int, int] | None = None
    last: dict[int, float] = {}
    outcome.sweep.clear()
    sign = 1.0 if task.select.higher_is_better else -1.0
    for number, point in enumerate(conditions.points):
        probes = [run.sweep.probe(number, str(step)) for step in run.kept]
        values = []
        for step, outputs in zip(run.kept, _test_outputs(conditions, run, probes, extraction), strict=True):
            _, predictions = next(iter(task.select.candidates(fold.name, fold.test, outputs, None)))
            value = task.score(predictions, fold.test.facts)[primary].value
            values.append(value)
            outcome.sweep.append(_row(fold.name, point, value, step, {"step": step}))
            if point.seed == lowest and not math.isnan(value) and (best is None or sign * value > best[0]):
                best = (sign * value, number, step)
        last[number] = values[-1]
    if best is None:
        raise BadHead(f"{task.card.name}: every learning rate diverged. Try smaller ones: --lr 1e-5,1e-6")
    _, number, step = best
    probe = run.sweep.probe(number, str(step))
    outputs = _test_outputs(conditions, run, [probe], extraction)[0]
    _, outcome.predictions = next(iter(task.select.candidates(fold.name, fold.test, outputs, None)))
    point = conditions.points[number]
    outcome.chosen[fold.name] = {"lr": point.lr, "seed": point.seed, "step": step, "setting": {"step": step}}
    outcome.layer_weights[fold.name] = probe.layer_weights()
    outcome.facts = dict(fold.test.facts)
    outcome.scores = task.score(outcome.predictions, outcome.facts)
    outcome.notes.append(
        f"{primary} is that of the best of {len(run.kept)} checkpoints, chosen on the test trials as the official protocol does; "
        f"the last checkpoint of the same learning rate gives {last[number]:.2f}"
    )


def _untrained(conditions: Conditions, folds: Sequence[Fold], extraction: Extraction) -> Outcome:
    """QbE: no training; the setting of best dev score is tested."""
    task, outcome = conditions.task, Outcome()
    for fold in folds:
        scored = []
        for setting, predictions in task.select.candidates(fold.name, fold.dev, StoredFrames(fold.dev, extraction), None):
            value = task.score(predictions, fold.dev.facts)[task.select.metric].value
            scored.append((value, dict(setting)))
            outcome.sweep.append(
                {"fold": fold.name, "lr": None, "seed": None, "dev": value, "steps": 0, "setting": dict(setting)}
            )
            conditions.reporter.advance("dev settings", len(scored), len(scored))
        sign = 1.0 if task.select.higher_is_better else -1.0
        _, setting = max(scored, key=lambda entry: sign * entry[0])
        outputs = StoredFrames(fold.test, extraction)
        _, predictions = next(iter(task.select.candidates(fold.name, fold.test, outputs, setting)))
        outcome.chosen[fold.name] = {"lr": None, "seed": None, "step": 0, "setting": setting}
        outcome.predictions += predictions
        outcome.facts |= fold.test.facts
    outcome.scores = task.score(outcome.predictions, outcome.facts)
    return outcome


@dataclass(frozen=True, slots=True)
class Frames:
    """Stored frames of one item: `frames(layer)` is (time, dim) float32."""

    stored: torch.Tensor

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return self.stored.shape[1]

    def frames(self, layer: int) -> torch.Tensor:
        """One layer, (time, dim)."""
        return self.stored[:, layer].float()


class StoredFrames(dict[str, Frames]):
    """Item id -> stored frames, read when asked for."""

    def __init__(self, split: Split, extraction: Extraction) -> None:
        super().__init__()
        self._audio = {item.id: item.audio for item in split.items}
        self._extraction = extraction

    def __missing__(self, key: str) -> Frames:
        return Frames(self._extraction[self._audio[key]])
