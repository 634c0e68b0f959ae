"""Two sides compared, task by task."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from superbench import plugins
from superbench.contract import Prediction, Score
from superbench.errors import CommandError
from superbench.results.diff.differences import Difference, differences, to_published
from superbench.results.diff.paired import Disagreement, Paired, aligned, disagreements, paired
from superbench.results.diff.sides import Side
from superbench.results.predictions import read_predictions
from superbench.results.result import Result
from superbench.results.rows import Cell, columns
from superbench.system.progress import Reporter, Silence

TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric on both sides; None where a side lacks it. `paired` where both have predictions on the same items."""

    name: str
    unit: str
    higher_is_better: bool
    a: Cell | None
    b: Cell | None
    paired: Paired | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One task: what differs in the making, the scores, the items. `unpaired` says why nothing could be paired."""

    task: str
    differences: list[Difference]
    metrics: list[Metric]
    unpaired: str = ""
    disagreements: list[Disagreement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def compare(a: Side, b: Side, tasks: Sequence[str] = (), items: int = 10, reporter: Reporter | None = None) -> list[Comparison]:
    """Every task that both sides have (or those of `tasks`); raises `CommandError` where there is none."""
    shared = [name for name in a.tasks if name in b.tasks]
    if absent := [name for name in tasks if name not in shared]:
        raise CommandError(f"Not on both sides: {', '.join(absent)}. Both have {', '.join(shared) or 'no task'}.")
    if not shared:
        raise CommandError(f"{a.name} has {', '.join(a.tasks)}; {b.name} has {', '.join(b.tasks)}: no task is on both sides.")
    wanted = [name for name in shared if not tasks or name in tasks]
    listener, found = reporter or Silence(), []
    for number, name in enumerate(wanted):
        found.append(_compared(name, a, b, items))
        if len(wanted) > 1:
            listener.advance("tasks compared", number + 1, len(wanted))
    return found


def _compared(task: str, a: Side, b: Side, items: int) -> Comparison:
    if a.row is None and b.row is None:
        return _results(task, a, b, items)
    found: list[Difference] = []
    if a.row is None and b.row is not None:
        found = to_published(a.results[task], b.row, flipped=False)
    elif a.row is not None and b.row is None:
        found = to_published(b.results[task], a.row, flipped=True)
    return Comparison(task, found, _metrics(task, a, b), "a published row has no predictions")


def _metrics(task: str, a: Side, b: Side) -> list[Metric]:
    cells = [_cells(side, task) for side in (a, b)]
    known = {column.key: column for column in columns()}
    rising = {
        f"{task}.{name}": (score.unit, score.higher_is_better)
        for side in (a, b)
        if task in side.results
        for name, score in side.results[task].scores.items()
    }
    rising |= {key: (column.unit, column.higher_is_better) for key, column in known.items() if key not in rising}
    both = [key for key in {**cells[0], **cells[1]} if key in rising]
    return [Metric(key.split(".", 1)[1], *rising[key], cells[0].get(key), cells[1].get(key)) for key in both]


def _cells(side: Side, task: str) -> dict[str, Cell]:
    if side.row is not None:
        return {key: cell for key, cell in side.row.cells.items() if key.split(".")[0] == task}
    return {f"{task}.{name}": Cell(score.value, score.ci, score.ci_method) for name, score in side.results[task].scores.items()}


# ---------------------------------------------------------------- two results on disk


def _results(task: str, a: Side, b: Side, items: int) -> Comparison:
    one, other = a.results[task], b.results[task]
    plain = Comparison(task, differences(one, other), _metrics(task, a, b))
    if task not in {listed.name for listed in plugins.listed(plugins.TASKS)}:
        return dataclasses.replace(plain, unpaired=f"the task {task} is not installed here, so nothing can be scored again")
    if one.task.version != other.task.version:
        return dataclasses.replace(plain, unpaired="they were made with different versions of the task")
    pair = aligned(*(read_predictions(side.places[task] / side.results[task].predictions) for side in (a, b)))
    if isinstance(pair, str):
        return dataclasses.replace(plain, unpaired=pair)
    scores = [_scored(task, result, said) for result, said in zip((one, other), pair, strict=True)]
    metrics = [
        dataclasses.replace(metric, paired=paired(pair[0], scores[0][metric.name], scores[1][metric.name]))
        if metric.name in scores[0] and metric.name in scores[1]
        else metric
        for metric in plain.metrics
    ]
    primary = (scores[0][one.primary], scores[1][one.primary])
    return dataclasses.replace(
        plain,
        metrics=metrics,
        disagreements=disagreements(*pair, primary, items),
        warnings=[*_untrue("A", one, scores[0]), *_untrue("B", other, scores[1])],
    )


def _scored(task: str, result: Result, predictions: Sequence[Prediction]) -> dict[str, Score]:
    return plugins.task(task).score(predictions, result.model_dump()["data"]["passport"].get("facts", {}))


def _untrue(side: str, result: Result, scores: dict[str, Score]) -> list[str]:
    """Scores that the predictions do not give."""
    return [
        f"{side}: its predictions give {name} {scores[name].value:.4f}, its result says {claimed.value:.4f}."
        for name, claimed in result.scores.items()
        if name in scores and not math.isclose(scores[name].value, claimed.value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    ]


def plain(a: Side, b: Side, found: Sequence[Comparison]) -> dict[str, Any]:
    """Everything as JSON values."""
    tasks = {one.task: {key: value for key, value in dataclasses.asdict(one).items() if key != "task"} for one in found}
    return {
        "schema": 1,
        "a": a.name,
        "b": b.name,
        "tasks": tasks,
        "only_a": [name for name in a.tasks if name not in b.tasks],
        "only_b": [name for name in b.tasks if name not in a.tasks],
    }
