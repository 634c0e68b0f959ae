"""An experiment is one task on one upstream: train the sweep of every fold, choose on dev, test once.

This module contains no code for particular tasks. Tasks differ in their `Selection` and in their heads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from superbench.contract import Fold, Outputs, Prediction, Setting, Split
from superbench.errors import BadHead
from superbench.features.extraction import Extraction
from superbench.features.quantized import Rows
from superbench.system.ranges import in_full
from superbench.training.outcome import Outcome
from superbench.training.probes.collapse import collapses
from superbench.training.probes.evaluation import decode, fully
from superbench.training.probes.fold import BEST, Conditions, Trained, decoded, examples_of, train
from superbench.training.probes.probe import Probe
from superbench.training.probes.updates import Point


def experiment(conditions: Conditions, folds: Sequence[Fold], extraction: Extraction) -> Outcome:
    """Run all folds; raises `BadHead` if every learning rate diverged."""
    began = time.perf_counter()
    trained = [train(conditions, fold, extraction) for fold in folds] if conditions.task.head else []
    middle = time.perf_counter()
    if trained:
        outcome = _choose_and_test(conditions, trained, extraction)
        outcome.learning = [row for run in trained for row in _learning(run)]
    else:
        outcome = _untrained(conditions, folds, extraction)
    outcome.notes += collapses(outcome.predictions)
    outcome.train_seconds, outcome.evaluate_seconds = middle - began, time.perf_counter() - middle
    return outcome


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
        point, name = conditions.points[number], run.fold.name
        setting, predictions = _predictions(conditions, run, number, extraction, outcome)
        outcome.chosen[name] = {"lr": point.lr, "seed": point.seed, "step": run.steps[number], "setting": dict(setting)}
        outcome.predictions += predictions
        outcome.facts |= run.fold.test.facts
        outcome.layer_weights[name] = run.sweep.probe(number, BEST).layer_weights()
    outcome.notes += _unfinished(conditions, [run for run in trained if run.steps[number] == conditions.recipe.steps])
    outcome.scores = conditions.task.score(outcome.predictions, outcome.facts)
    for seed in _further_seeds(conditions):
        if (best := _best_of_seed(conditions, trained, seed)) is not None:
            parts = [_predictions(conditions, run, best, extraction, Outcome())[1] for run in trained]
            _keep_seed(conditions, outcome, seed, [prediction for part in parts for prediction in part])
    return outcome


def _further_seeds(conditions: Conditions) -> list[int]:
    """Return the seeds beside the lowest one, whose score is reported."""
    return sorted({point.seed for point in conditions.points})[1:]


def _keep_seed(conditions: Conditions, outcome: Outcome, seed: int, predictions: list[Prediction]) -> None:
    """Add the predictions of a further seed to an outcome, and those of the lowest one before the first."""
    lowest = min(point.seed for point in conditions.points)
    outcome.by_seed.setdefault(lowest, (outcome.predictions, outcome.scores))
    outcome.by_seed[seed] = predictions, conditions.task.score(predictions, outcome.facts)


def _predictions(
    conditions: Conditions, run: Trained, number: int, extraction: Extraction, outcome: Outcome
) -> tuple[Setting, list[Prediction]]:
    """Return the setting and the test predictions of one probe of a fold; remarks are added to `outcome`."""
    outputs, also = _tested(conditions, run, run.sweep.probe(number, BEST), extraction)
    setting, predictions = _best_setting(conditions, run.fold, run.fold.test, outputs, outcome)
    return setting, [replace(p, also=also[p.id]) if also.get(p.id) else p for p in predictions]


def _unfinished(conditions: Conditions, last: Sequence[Trained]) -> list[str]:
    """Return a note if the dev value of any fold was best at the last update (`last`: these folds)."""
    where = "" if len(last) < 2 else f" in {len(last)} folds"
    return [f"dev was best at the last of {conditions.recipe.steps} updates{where}: more updates might help"] if last else []


def _learning(run: Trained) -> Iterator[dict[str, Any]]:
    """Yield the learning curve of every probe of a fold, one probe after another."""
    for number, point in enumerate(run.sweep.points):
        for row in run.log:
            values = {"step": row["step"], "loss": row["loss"][number], "dev": row["dev"][number]}
            yield {"fold": run.fold.name, "lr": point.lr, "seed": point.seed} | values


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
    """Return the index of the learning rate with the best dev value, averaged over folds, for the lowest seed."""
    best = _best_of_seed(conditions, trained, min(point.seed for point in conditions.points))
    if best is None:
        rates = ", ".join(in_full(point.lr) for point in conditions.points)
        raise BadHead(f"{conditions.task.card.name}: every learning rate diverged ({rates}). Try smaller ones: --lr 1e-5,1e-6")
    return best


def _best_of_seed(conditions: Conditions, trained: Sequence[Trained], seed: int) -> int | None:
    """Return the same for any seed; None if all its learning rates diverged."""
    sign = 1.0 if conditions.task.select.higher_is_better else -1.0
    averages = {
        i: sign * sum(run.dev[i] for run in trained) / len(trained)
        for i, point in enumerate(conditions.points)
        if point.seed == seed and not any(math.isnan(run.dev[i]) for run in trained)
    }
    return max(averages, key=lambda i: averages[i]) if averages else None


def _test_outputs(conditions: Conditions, run: Trained, probes: Sequence[Probe], extraction: Extraction) -> list[Outputs]:
    items = run.fold.test.items
    return decoded(conditions, probes, items, examples_of(conditions, items, extraction))


def _tested(
    conditions: Conditions, run: Trained, probe: Probe, extraction: Extraction
) -> tuple[Outputs, dict[str, Mapping[str, Any]]]:
    """Return what the chosen probe decodes for test, with its main method and with its other ones (`decode_also`)."""
    items = run.fold.test.items
    examples, batch = examples_of(conditions, items, extraction), conditions.recipe.evaluate_batch
    (both,) = decode([probe], items, examples, batch, fully, conditions.reporter)
    return {key: output for key, (output, _) in both.items()}, {key: also for key, (_, also) in both.items()}


def _best_setting(
    conditions: Conditions, fold: Fold, split: Split, outputs: Outputs, outcome: Outcome
) -> tuple[Setting, list[Prediction]]:
    """Return the setting with the best primary score on this split, and its predictions.

    If there are several settings, the official protocol chooses on test; a note reports this.
    """
    task, primary = conditions.task, conditions.task.card.primary
    candidates = list(task.select.candidates(fold.name, split, outputs, None))
    if len(candidates) == 1:
        return candidates[0]
    scored = [(task.score(predictions, split.facts)[primary], setting, predictions) for setting, predictions in candidates]
    sign = 1.0 if scored[0][0].higher_is_better else -1.0
    best = max(scored, key=lambda entry: sign * entry[0].value)
    values = ", ".join(f"{_words(setting)}: {score.value:.2f}" for score, setting, _ in scored)
    outcome.notes.append(
        f"{primary} is that of the best of {len(scored)} settings, chosen on {split.name} as in the official protocol: {values}"
    )
    return best[1], best[2]


def _words(setting: Setting) -> str:
    return " ".join(f"{name} {value}" for name, value in setting.items())


def _test_checkpoints(conditions: Conditions, run: Trained, extraction: Extraction, outcome: Outcome) -> None:
    """Test every kept checkpoint of every learning rate and report the best, as the official protocol does (ASV)."""
    task, primary, fold = conditions.task, conditions.task.card.primary, run.fold
    lowest = min(point.seed for point in conditions.points)
    bests: dict[int, tuple[float, int, int]] = {}
    last: dict[int, float] = {}
    steps = [row["step"] for row in run.log]
    outcome.sweep.clear()
    sign = 1.0 if task.select.higher_is_better else -1.0
    for number, point in enumerate(conditions.points):
        probes = [run.sweep.probe(number, str(step)) for step in steps]
        values = []
        for step, outputs in zip(steps, _test_outputs(conditions, run, probes, extraction), strict=True):
            _, predictions = next(iter(task.select.candidates(fold.name, fold.test, outputs, None)))
            value = task.score(predictions, fold.test.facts)[primary].value
            values.append(value)
            outcome.sweep.append(_row(fold.name, point, value, step, {"step": step}))
            if not math.isnan(value) and (point.seed not in bests or sign * value > bests[point.seed][0]):
                bests[point.seed] = (sign * value, number, step)
        last[number] = values[-1]
    if lowest not in bests:
        raise BadHead(f"{task.card.name}: every learning rate diverged. Try smaller ones: --lr 1e-5,1e-6")
    _, number, step = bests[lowest]
    outcome.predictions = _of_checkpoint(conditions, run, number, step, extraction)
    point = conditions.points[number]
    outcome.chosen[fold.name] = {"lr": point.lr, "seed": point.seed, "step": step, "setting": {"step": step}}
    outcome.layer_weights[fold.name] = run.sweep.probe(number, str(step)).layer_weights()
    outcome.facts = dict(fold.test.facts)
    outcome.scores = task.score(outcome.predictions, outcome.facts)
    for seed in (seed for seed in _further_seeds(conditions) if seed in bests):
        _keep_seed(conditions, outcome, seed, _of_checkpoint(conditions, run, *bests[seed][1:], extraction))
    outcome.notes.append(
        f"{primary} is that of the best of {len(steps)} checkpoints, chosen on the test trials as the official protocol "
        f"does; the last checkpoint of the same learning rate gives {last[number]:.2f}"
    )


def _of_checkpoint(conditions: Conditions, run: Trained, number: int, step: int, extraction: Extraction) -> list[Prediction]:
    """Return the test predictions of one checkpoint of a probe."""
    outputs = _test_outputs(conditions, run, [run.sweep.probe(number, str(step))], extraction)[0]
    _, predictions = next(iter(conditions.task.select.candidates(run.fold.name, run.fold.test, outputs, None)))
    return predictions


def _untrained(conditions: Conditions, folds: Sequence[Fold], extraction: Extraction) -> Outcome:
    """Test the setting with the best dev score; nothing is trained (QbE)."""
    task, outcome = conditions.task, Outcome()
    fixed: list[Setting | None] = [None] if conditions.chosen is None else [{"layer": layer} for layer in conditions.chosen]
    for fold in folds:
        scored = []
        frames = StoredFrames(fold.dev, extraction, conditions.device)
        for setting, predictions in (
            one for only in fixed for one in task.select.candidates(fold.name, fold.dev, frames, only)
        ):
            value = task.score(predictions, fold.dev.facts)[task.select.metric].value
            scored.append((value, dict(setting)))
            outcome.sweep.append(
                {"fold": fold.name, "lr": None, "seed": None, "dev": value, "steps": 0, "setting": dict(setting)}
            )
            conditions.reporter.advance("dev settings", len(scored), len(scored))
        sign = 1.0 if task.select.higher_is_better else -1.0
        _, setting = max(scored, key=lambda entry: sign * entry[0])
        outputs = StoredFrames(fold.test, extraction, conditions.device)
        _, predictions = next(iter(task.select.candidates(fold.name, fold.test, outputs, setting)))
        outcome.chosen[fold.name] = {"lr": None, "seed": None, "step": 0, "setting": setting}
        outcome.predictions += predictions
        outcome.facts |= fold.test.facts
    outcome.scores = task.score(outcome.predictions, outcome.facts)
    return outcome


@dataclass(frozen=True, slots=True)
class Frames:
    """The stored frames of one item; `frames(layer)` returns (time, dim) float32 on the device of the run."""

    stored: Rows
    device: str = "cpu"

    @property
    def layers(self) -> int:
        """The number of layers."""
        return self.stored.shape[1]

    def frames(self, layer: int) -> torch.Tensor:
        """Return one layer, (time, dim)."""
        return self.stored[:, layer].to(self.device).float()


class StoredFrames(dict[str, Frames]):
    """Item id -> stored frames, which are read at access."""

    def __init__(self, split: Split, extraction: Extraction, device: str) -> None:
        super().__init__()
        self._device = device
        self._audio = {item.id: item.audio for item in split.items}
        self._extraction = extraction

    def __missing__(self, key: str) -> Frames:
        return Frames(self._extraction[self._audio[key]], self._device)
