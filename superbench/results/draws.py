"""Scores of several draws of examples: their mean, and an interval that resamples draws and groups (speakers) together.

One fold and at least 20 groups: the bootstrap of `intervals`, each resample with its own draw of the draws. Otherwise: the
variance of the mean over groups (jackknife) plus that over draws, s² / D, and Student's t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from scipy import special

from superbench.contract import Prediction, Score
from superbench.results.intervals import Design, Replicates, interval_of, jackknife_variance

DRAWS = 10
"""How often the examples are drawn, unless a deviation says otherwise."""
MOST_ITEMS = 100
"""In context, at most so many items of test are asked, drawn at random over all folds (seeded, the same for every model)."""
ROWS = 100
"""Weightings of the items that are held in memory at once."""
Drawn = Sequence[tuple[Sequence[Prediction], Score]]
"""For each draw: its predictions, in one order of items for all draws, and their score."""


def mean_score(draws: Drawn) -> Score:
    """Returns the mean over the draws; `counts` are sums over them."""
    scores = [score for _, score in draws]
    counts: dict[str, float] = {}
    for score in scores:
        for name, value in score.counts.items():
            counts[name] = counts.get(name, 0.0) + value

    def reweighted(weights: np.ndarray) -> float:
        return float(np.mean([score.reweighted(weights) for score in scores]))

    return replace(scores[0], value=float(np.mean([score.value for score in scores])), counts=counts, reweighted=reweighted)


def mean_replicates(draws: Drawn, resamples: int = 1000, seed: int = 0) -> Replicates:
    """Returns the replicates of the mean over the draws. In the bootstrap, every resample also draws the draws."""
    return replicates_of([draws], resamples, seed)[0]


def replicates_of(every: Sequence[Drawn], resamples: int = 1000, seed: int = 0) -> list[Replicates]:
    """Returns the replicates of several means over the same items, in the same order: those of every K, for example."""
    design = Design.of(every[0][0][0], resamples, seed)
    values = _values(design, [score for draws in every for _, score in draws])  # (replicate, draw)
    ends = np.cumsum([len(draws) for draws in every])[:-1]
    return [design.replicates(_mean(design, part, seed)) for part in np.split(values, ends, axis=1)]


def _mean(design: Design, values: np.ndarray, seed: int) -> np.ndarray:
    draws = values.shape[1]
    if design.folds is None and draws > 1:
        chosen = np.random.default_rng([seed, draws]).integers(0, draws, values.shape)
        values = np.take_along_axis(values, chosen, axis=1)
    return np.asarray(values.mean(1))


def paired_replicates(draws: Drawn, drawn: Replicates) -> Replicates:
    """Returns replicates for paired tests of models over the same draws: those of two models may be subtracted from each other.
    `drawn` are the replicates of the mean over the draws (see `replicates_of`).

    In the jackknife, every draw is also left out once, as one more fold, whose variance is that over the draws, s² / D. The
    design contains the number of draws, so that models with other draws are not paired.
    """
    design = f"{drawn.design} x {len(draws)}"
    if drawn.folds is None or len(draws) == 1:
        return replace(drawn, design=design)
    scores = np.array([score.value for _, score in draws])
    without = (scores.sum() - scores) / (len(scores) - 1)
    folds = np.append(drawn.folds, np.full(len(scores), drawn.folds.max(initial=-1) + 1))
    return Replicates(np.append(drawn.values, without), drawn.groups + 1, design, folds)


def _values(design: Design, scores: Sequence[Score]) -> np.ndarray:
    """Returns every score under every weighting of the items, (replicate, draw).

    Scores that are ratios of two sums are computed for many weightings at once."""
    if any(score.parts is None for score in scores):
        return np.array([[score.reweighted(weights) for score in scores] for weights in design.weights()], float)
    numerators, denominators = (np.stack(parts, 1) for parts in zip(*(score.parts or () for score in scores), strict=True))
    weights, values = design.weights(), []
    while rows := list(islice(weights, ROWS)):
        stacked = np.stack(rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            values.append((stacked @ numerators) / (stacked @ denominators))
    return np.concatenate(values)


def interval_over_draws(draws: Drawn, level: float = 0.95) -> tuple[float, float, str]:
    """Returns (low, high, method) for the mean over the draws, in the unit of the score; NaN if there is no interval."""
    return intervals_over_draws([draws], level)[0]


def intervals_over_draws(every: Sequence[Drawn], level: float = 0.95) -> list[tuple[float, float, str]]:
    """Returns the interval of each of several means over the same items, in the same order."""
    return [interval_from(draws, drawn, level) for draws, drawn in zip(every, replicates_of(every), strict=True)]


def interval_from(draws: Drawn, drawn: Replicates, level: float = 0.95) -> tuple[float, float, str]:
    """Returns the interval of the mean over the draws with these replicates (see `replicates_of`)."""
    value = mean_score(draws).value
    over = f" and {len(draws)} draws" if len(draws) > 1 else ""
    low, high, method = interval_of(drawn, value, level)
    if drawn.folds is None or len(draws) == 1 or drawn.freedom < 1:
        return low, high, method + over
    spread = float(np.var([score.value for _, score in draws], ddof=1)) / len(draws)
    half = float(special.stdtrit(drawn.freedom, (1 + level) / 2))
    half *= (jackknife_variance(drawn.values, drawn.folds) + spread) ** 0.5
    return value - half, value + half, method + over


def by_episode(predictions: Sequence[Prediction]) -> Mapping[int | str, list[list[Prediction]]]:
    """Returns K -> the predictions of each draw, both ascending (`all` last); the order of items is that of the argument."""
    gathered: dict[int | str, dict[int, list[Prediction]]] = {}
    for prediction in predictions:
        if prediction.k is not None:
            gathered.setdefault(prediction.k, {}).setdefault(prediction.draw or 0, []).append(prediction)
    places = sorted(gathered, key=lambda k: float("inf") if k == "all" else float(k))
    return {k: [gathered[k][draw] for draw in sorted(gathered[k])] for k in places}
