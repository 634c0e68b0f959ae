"""Compares two sides, task by task."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from superbench.contract import Prediction, Score
from superbench.errors import CommandError
from superbench.results.diff.differences import Difference, differences, to_published
from superbench.results.diff.metric import Metric
from superbench.results.diff.paired import Disagreement, aligned, disagreements, paired
from superbench.results.diff.shots import at_each_k
from superbench.results.diff.sides import Side
from superbench.results.own import can_score, task_of
from superbench.results.predictions import read_predictions
from superbench.results.result import Result
from superbench.results.rows import Cell, columns
from superbench.system.progress import Reporter, Silence

TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of one task: differences of the runs, scores, items. `unpaired` is the reason if nothing is paired."""

    task: str
    differences: list[Difference]
    metrics: list[Metric]
    unpaired: str = ""
    disagreements: list[Disagreement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def compare(a: Side, b: Side, tasks: Sequence[str] = (), items: int = 10, reporter: Reporter | None = None) -> list[Comparison]:
    """Compare every task that both sides have (or those of `tasks`); raises `CommandError` if there is none."""
    shared = [name for name in a.tasks if name in b.tasks]
    asked = {name for task in tasks for name in shared if task in (name, name.partition("/")[0])}
    if absent := [task for task in tasks if not any(task in (name, name.partition("/")[0]) for name in asked)]:
        raise CommandError(f"Not on both sides: {', '.join(absent)}. Both have {', '.join(shared) or 'no task'}.")
    if not shared:
        raise CommandError(f"{a.name} has {', '.join(a.tasks)}; {b.name} has {', '.join(b.tasks)}: no task is on both sides.")
    chosen = [name for name in shared if not tasks or name in asked]
    progress, comparisons = reporter or Silence(), []
    for number, name in enumerate(chosen):
        comparisons.append(_compared(name, a, b, items))
        if len(chosen) > 1:
            progress.advance("tasks compared", number + 1, len(chosen))
    return comparisons


def _compared(task: str, a: Side, b: Side, items: int) -> Comparison:
    changed = [f"{label}: {side.damaged[task]}" for label, side in (("A", a), ("B", b)) if task in side.damaged]
    if a.row is None and b.row is None:
        compared = _results(task, a, b, items)
        return dataclasses.replace(compared, warnings=changed + compared.warnings)
    differing: list[Difference] = []
    if a.row is None and b.row is not None:
        differing = to_published(a.results[task], b.row, flipped=False)
    elif a.row is not None and b.row is None:
        differing = to_published(b.results[task], a.row, flipped=True)
    return Comparison(task, differing, _metrics(task, a, b), "a published row has no predictions", warnings=changed)


def _metrics(task: str, a: Side, b: Side) -> list[Metric]:
    cells = [_cells(side, task) for side in (a, b)]
    known = {column.key: column for column in columns([*a.results.values(), *b.results.values()])}
    units = {
        f"{task}.{name}": (score.unit, score.higher_is_better)
        for side in (a, b)
        if task in side.results
        for name, score in side.results[task].scores.items()
    }
    units |= {key: (column.unit, column.higher_is_better) for key, column in known.items() if key not in units}
    both = [key for key in {**cells[0], **cells[1]} if key in units]
    return [
        Metric(
            name=key.split(".", 1)[1],
            unit=units[key][0],
            higher_is_better=units[key][1],
            a=cells[0].get(key),
            b=cells[1].get(key),
        )
        for key in both
    ]


def _cells(side: Side, task: str) -> dict[str, Cell]:
    if side.row is not None:
        return {key: cell for key, cell in side.row.cells.items() if key.split(".")[0] == task}
    return {f"{task}.{name}": Cell(score.value, score.ci, score.ci_method) for name, score in side.results[task].scores.items()}


# ---------------------------------------------------------------- two results on disk


def _results(task: str, a: Side, b: Side, items: int) -> Comparison:
    first, second = a.results[task], b.results[task]
    if first.shots is not None:
        metrics, unpaired = at_each_k(first, second, a.places[task], b.places[task])
        return Comparison(task, differences(first, second), metrics, unpaired)
    plain = Comparison(task, differences(first, second), _metrics(task, a, b))
    if not can_score(first):
        return dataclasses.replace(plain, unpaired=f"the task {task} is not installed here, so nothing can be scored again")
    if first.task.version != second.task.version:
        return dataclasses.replace(plain, unpaired="they were made with different versions of the task")
    pair = aligned(*(read_predictions(side.places[task] / side.results[task].predictions) for side in (a, b)))
    if isinstance(pair, str):
        return dataclasses.replace(plain, unpaired=pair)
    scores = [_scored(result, predictions) for result, predictions in zip((first, second), pair, strict=True)]
    metrics = [
        dataclasses.replace(metric, paired=paired(pair[0], scores[0][metric.name], scores[1][metric.name]))
        if metric.name in scores[0] and metric.name in scores[1]
        else metric
        for metric in plain.metrics
    ]
    primary = (scores[0][first.primary], scores[1][first.primary])
    return dataclasses.replace(
        plain,
        metrics=metrics,
        disagreements=disagreements(*pair, primary, items),
        warnings=[*_untrue("A", first, scores[0]), *_untrue("B", second, scores[1])],
    )


def _scored(result: Result, predictions: Sequence[Prediction]) -> dict[str, Score]:
    return task_of(result).score(predictions, result.model_dump()["data"]["passport"].get("facts", {}))


def _untrue(side: str, result: Result, scores: dict[str, Score]) -> list[str]:
    """Return a warning for every score that differs from the score computed from the predictions."""
    return [
        f"{side}: its predictions give {name} {scores[name].value:.4f}, but its result contains {claimed.value:.4f}."
        for name, claimed in result.scores.items()
        if name in scores and not math.isclose(scores[name].value, claimed.value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    ]


def plain(a: Side, b: Side, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return the comparisons as JSON values."""
    tasks = {
        comparison.task: {key: value for key, value in dataclasses.asdict(comparison).items() if key != "task"}
        for comparison in comparisons
    }
    return {
        "schema": 1,
        "a": a.name,
        "b": b.name,
        "tasks": tasks,
        "only_a": [name for name in a.tasks if name not in b.tasks],
        "only_b": [name for name in b.tasks if name not in a.tasks],
    }
