"""Computes the difference of two results on the same test items, and lists the items on which they differ most.

The difference of the two scores is itself a score. Groups (speakers, queries) are resampled for both at once, so effects that
are common to both cancel. Intervals: `results/intervals.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
from scipy import stats

from superbench.contract import Prediction, Score
from superbench.results.intervals import interval


@dataclass(frozen=True, slots=True)
class Paired:
    """The difference B - A of a metric, its 95 % interval, and the verdict (a, b or tie)."""

    difference: float
    interval: tuple[float, float] | None
    method: str
    verdict: Literal["a", "b", "tie"]

    @classmethod
    def of(cls, difference: float, low: float, high: float, method: str, higher_is_better: bool) -> Paired:
        """Return the verdict on a difference: a tie if its interval contains 0, or if it has none."""
        if not (np.isfinite(low) and np.isfinite(high)):
            return cls(difference, None, method, "tie")
        b_is_better = (difference > 0) == higher_is_better
        return cls(difference, (low, high), method, ("b" if b_is_better else "a") if low > 0 or high < 0 else "tie")


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A test item on which the two results differ.

    `gain`: the points that the item adds to the difference of the scores, positive if B is better. For trials with a score:
    the improvement of the trial's rank in B, in percent of all trials.
    """

    id: str
    fold: str
    reference: Any
    a: Any
    b: Any
    gain: float


def aligned(a: Sequence[Prediction], b: Sequence[Prediction]) -> tuple[list[Prediction], list[Prediction]] | str:
    """Return both sides in the same order, or the reason why they cannot be paired."""
    first, second = ({(prediction.fold, prediction.id): prediction for prediction in side} for side in (a, b))
    if first.keys() != second.keys():
        only = len(first.keys() - second.keys()), len(second.keys() - first.keys())
        return f"their test items differ ({only[0]} only in A, {only[1]} only in B)"
    keys = sorted(first)
    changed = sum(first[key].reference != second[key].reference for key in keys)
    if changed:
        return f"the references of {changed} test items differ"
    return [first[key] for key in keys], [second[key] for key in keys]


def paired(predictions: Sequence[Prediction], a: Score, b: Score) -> Paired:
    """Return the difference of two scores over the same items in the same order (`predictions`, of either side: the groups)."""
    difference = Score(
        value=b.value - a.value,
        unit=a.unit,
        higher_is_better=a.higher_is_better,
        counts={},
        reweighted=lambda weights: b.reweighted(weights) - a.reweighted(weights),
    )
    low, high, method = interval(predictions, difference)
    return Paired.of(difference.value, low, high, method, a.higher_is_better)


def disagreements(
    a: Sequence[Prediction], b: Sequence[Prediction], scores: tuple[Score, Score], most: int
) -> list[Disagreement]:
    """Return the `most` items with the largest gain and the `most` with the largest loss of B, alternating, largest first."""
    numbers = all(isinstance(prediction.prediction, (int, float)) for side in (a, b) for prediction in side)
    gains = _rank_gains(a, b) if numbers else _point_gains(a, b, scores)
    order = sorted(gains, key=lambda item: (-abs(gains[item]), a[item].id))
    better, worse = ([item for item in order if sign * gains[item] > 0][:most] for sign in (1, -1))
    chosen = [item for both in zip_longest(better, worse) for item in both if item is not None]
    return [
        Disagreement(
            id=a[i].id, fold=a[i].fold, reference=a[i].reference, a=a[i].prediction, b=b[i].prediction, gain=round(gains[i], 4)
        )
        for i in chosen
    ]


def _rank_gains(a: Sequence[Prediction], b: Sequence[Prediction]) -> Mapping[int, float]:
    """Return how much higher (targets) or lower (non-targets) B ranks each trial, in percent of all trials."""
    ranks = [stats.rankdata([prediction.prediction for prediction in side]) * 100 / len(side) for side in (a, b)]
    signs = np.array([1.0 if prediction.reference else -1.0 for prediction in a])
    return dict(enumerate((signs * (ranks[1] - ranks[0])).tolist()))


def _point_gains(a: Sequence[Prediction], b: Sequence[Prediction], scores: tuple[Score, Score]) -> Mapping[int, float]:
    """Return the points that each item with different predictions adds to the difference of the scores (positive: B is better).

    r is the score of the item alone. Its share s of the score v of all items follows from the score v' without the item,
    v' = (v - s r) / (1 - s). The item adds s (r_B - r_A). If the score is a ratio, the sum over all items is the difference.
    """
    sign = 1.0 if scores[0].higher_is_better else -1.0
    alone, rest, gains = np.zeros(len(a)), np.ones(len(a)), dict[int, float]()
    for item, (first, second) in enumerate(zip(a, b, strict=True)):
        if first.prediction == second.prediction:
            continue
        alone[item], rest[item] = 1.0, 0.0
        single = [score.reweighted(alone) for score in scores]
        without = [score.reweighted(rest) for score in scores]
        alone[item], rest[item] = 0.0, 1.0
        clear = max((0, 1), key=lambda side: abs(single[side] - without[side]))
        if single[0] != single[1] and single[clear] != without[clear] and np.isfinite([*single, *without]).all():
            share = (scores[clear].value - without[clear]) / (single[clear] - without[clear])
            gains[item] = sign * share * (single[1] - single[0])
    return gains
