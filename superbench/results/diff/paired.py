"""How far two results differ on the very same test items, and on which of them most.

The difference of the two scores is itself a score: resampling groups (speakers, queries) moves both at once, so what is hard
for both cancels. Intervals: `results/intervals.py`.
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
    """The difference B - A of a metric with its 95 % interval, and what it says."""

    difference: float
    interval: tuple[float, float] | None
    method: str
    verdict: Literal["a", "b", "tie"]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A test item on which the two differ.

    `gain`: the points that the item adds to the difference of the scores, positive where B does better. For trials with a
    score: by how many percent of all trials B ranks it nearer to where it belongs.
    """

    id: str
    fold: str
    reference: Any
    a: Any
    b: Any
    gain: float


def aligned(a: Sequence[Prediction], b: Sequence[Prediction]) -> tuple[list[Prediction], list[Prediction]] | str:
    """Both in the same order; or why they cannot be paired."""
    ours, theirs = ({(one.fold, one.id): one for one in side} for side in (a, b))
    if ours.keys() != theirs.keys():
        only = len(ours.keys() - theirs.keys()), len(theirs.keys() - ours.keys())
        return f"their test items differ ({only[0]} only in A, {only[1]} only in B)"
    keys = sorted(ours)
    changed = sum(ours[key].reference != theirs[key].reference for key in keys)
    if changed:
        return f"the references of {changed} test items differ"
    return [ours[key] for key in keys], [theirs[key] for key in keys]


def paired(predictions: Sequence[Prediction], a: Score, b: Score) -> Paired:
    """The difference of two scores over the same items in the same order (`predictions` of either side give the groups)."""
    difference = Score(
        b.value - a.value, a.unit, a.higher_is_better, {}, lambda weights: b.reweighted(weights) - a.reweighted(weights)
    )
    low, high, method = interval(predictions, difference)
    if not (np.isfinite(low) and np.isfinite(high)):
        return Paired(difference.value, None, method, "tie")
    sure = low > 0 or high < 0
    rises = (difference.value > 0) == a.higher_is_better
    return Paired(difference.value, (low, high), method, ("b" if rises else "a") if sure else "tie")


def disagreements(
    a: Sequence[Prediction], b: Sequence[Prediction], scores: tuple[Score, Score], most: int
) -> list[Disagreement]:
    """The `most` items that speak for B and the `most` that speak for A, in turn, the strongest first."""
    numbers = all(isinstance(one.prediction, (int, float)) for side in (a, b) for one in side)
    gains = _rank_gains(a, b) if numbers else _point_gains(a, b, scores)
    order = sorted(gains, key=lambda place: (-abs(gains[place]), a[place].id))
    better, worse = ([place for place in order if sign * gains[place] > 0][:most] for sign in (1, -1))
    first = [place for both in zip_longest(better, worse) for place in both if place is not None]
    return [
        Disagreement(a[i].id, a[i].fold, a[i].reference, a[i].prediction, b[i].prediction, round(gains[i], 4)) for i in first
    ]


def _rank_gains(a: Sequence[Prediction], b: Sequence[Prediction]) -> Mapping[int, float]:
    """Trials: how much farther up (targets) or down (others) B ranks each, in percent of all trials."""
    ranks = [stats.rankdata([one.prediction for one in side]) * 100 / len(side) for side in (a, b)]
    signs = np.array([1.0 if one.reference else -1.0 for one in a])
    return dict(enumerate((signs * (ranks[1] - ranks[0])).tolist()))


def _point_gains(a: Sequence[Prediction], b: Sequence[Prediction], scores: tuple[Score, Score]) -> Mapping[int, float]:
    """Items with unlike predictions: the points that each adds to the difference of the scores, better being positive.

    An item's own value is the score of that item alone, r; its share of the whole, s, follows from the score v without it,
    v' = (v - s r) / (1 - s). It adds s (r_B - r_A); the sum over all items is the difference, where a score is a ratio.
    """
    sign = 1.0 if scores[0].higher_is_better else -1.0
    alone, rest, gains = np.zeros(len(a)), np.ones(len(a)), dict[int, float]()
    for place, (one, other) in enumerate(zip(a, b, strict=True)):
        if one.prediction == other.prediction:
            continue
        alone[place], rest[place] = 1.0, 0.0
        own = [score.reweighted(alone) for score in scores]
        without = [score.reweighted(rest) for score in scores]
        alone[place], rest[place] = 0.0, 1.0
        clear = max((0, 1), key=lambda side: abs(own[side] - without[side]))
        if own[0] != own[1] and own[clear] != without[clear] and np.isfinite([*own, *without]).all():
            share = (scores[clear].value - without[clear]) / (own[clear] - without[clear])
            gains[place] = sign * share * (own[1] - own[0])
    return gains
