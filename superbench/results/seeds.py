"""Scores of several seeds: mean and standard deviation, and an interval that resamples seeds and groups of items together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from superbench.contract import Prediction, Score
from superbench.results.draws import interval_over_draws

BySeed = Mapping[int, tuple[Sequence[Prediction], Mapping[str, Score]]]
"""Seed -> the predictions of its heads, and their scores; at least two seeds."""


def over_seeds(by_seed: BySeed, metric: str) -> dict[str, Any]:
    """Returns the values of a metric by seed, their mean, their standard deviation (n - 1), and the 95 % interval of the mean.

    The interval is that of several draws (`draws`): with at least 20 groups, every resample of the groups also draws the seeds;
    otherwise the variance over the seeds is added to that over the groups.
    """
    drawn = [(predictions, scores[metric]) for predictions, scores in by_seed.values()]
    values = [score.value for _, score in drawn]
    low, high, method = interval_over_draws(drawn)
    return {
        "values": {str(seed): value for seed, value in zip(by_seed, values, strict=True)},
        "mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)),
        "ci": [low, high] if low == low and high == high else None, "ci_method": method.replace(" draws", " seeds"),
    }  # fmt: skip


def in_words(metric: str, facts: Mapping[str, Any]) -> str:
    """Returns a sentence for the notes of a result."""
    seeds = ", ".join(facts["values"])
    interval = f", 95 % interval {facts['ci'][0]:.4g} to {facts['ci'][1]:.4g} over seeds and items" if facts["ci"] else ""
    return f"seeds {seeds}: {metric} has the mean {facts['mean']:.4g}, standard deviation {facts['std']:.2g}{interval}"
