"""Compares two results without training at every K, paired over the same items and the same draws of the examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from superbench.contract import Prediction, Score
from superbench.results.diff.metric import Metric
from superbench.results.diff.paired import Paired, aligned
from superbench.results.draws import Drawn, by_episode, interval_over_draws
from superbench.results.own import can_score, task_of
from superbench.results.predictions import read_predictions
from superbench.results.result import Result
from superbench.results.rows import Cell
from superbench.results.shots import entry_at, in_words, order_of

Episodes = Mapping[int | str, list[list[Prediction]]]


def at_each_k(a: Result, b: Result, at_a: Path, at_b: Path) -> tuple[list[Metric], str]:
    """Return the primary metric at every K that a side has, and the reason if nothing is paired."""
    metrics = [_metric(a, b, k) for k in sorted({entry.k for side in (a, b) for entry in side.shots or ()}, key=order_of)]
    if not can_score(a):
        return metrics, f"the task {a.task.name} is not installed here, so nothing can be scored again"
    if a.task.version != b.task.version:
        return metrics, "they were made with different versions of the task"
    episodes = [by_episode(read_predictions(place / side.predictions)) for place, side in ((at_a, a), (at_b, b))]
    both, reason = [], ""
    for k, metric in zip((k for k in sorted({*episodes[0], *episodes[1]}, key=order_of)), metrics, strict=True):
        found = _paired(a, k, *episodes)
        reason = found if isinstance(found, str) else reason
        both.append(metric if isinstance(found, str) else dataclasses.replace(metric, paired=found))
    return both, reason


def _metric(a: Result, b: Result, k: int | str) -> Metric:
    score = a.scores[a.primary]
    entries = [entry_at(side, k) for side in (a, b)]
    cells = [None if entry is None else Cell(entry.score, entry.ci) for entry in entries]
    name = f"{a.primary} at {in_words(k)}"
    return Metric(name=name, unit=score.unit, higher_is_better=score.higher_is_better, a=cells[0], b=cells[1])


def _paired(result: Result, k: int | str, a: Episodes, b: Episodes) -> Paired | str:
    """Return B - A at K, with an interval over draws and groups; or why it cannot be paired."""
    first, second = a.get(k, []), b.get(k, [])
    if len(first) != len(second) or not first:
        return f"they have different draws of the examples ({len(first)} and {len(second)} at {in_words(k)})"
    drawn: list[tuple[Sequence[Prediction], Score]] = []
    for one, other in zip(first, second, strict=True):
        pair = aligned(one, other)
        if isinstance(pair, str):
            return pair
        scores = [_score(result, side) for side in pair]
        drawn.append((pair[0], _difference(*scores)))
    return _verdict(drawn)


def _score(result: Result, predictions: Sequence[Prediction]) -> Score:
    return task_of(result).score(predictions, result.data.passport.facts)[result.primary]


def _difference(a: Score, b: Score) -> Score:
    return Score(
        value=b.value - a.value, unit=a.unit, higher_is_better=a.higher_is_better, counts={},
        reweighted=lambda weights: b.reweighted(weights) - a.reweighted(weights),
    )  # fmt: skip


def _verdict(drawn: Drawn) -> Paired:
    difference = sum(score.value for _, score in drawn) / len(drawn)
    low, high, method = interval_over_draws(drawn)
    return Paired.of(difference, low, high, method, drawn[0][1].higher_is_better)
