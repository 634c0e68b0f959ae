"""Computes the error of each test item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from superbench.contract import Prediction, Score


def item_errors(predictions: Sequence[Prediction], score: Score) -> np.ndarray:
    """Return the error of each item, from 0 to 1; NaN if it cannot be computed.

    The error of an item is the score of this item alone. A single trial (reference 0 or 1, prediction a number) has no score;
    its error is 1 if its prediction is on the wrong side of the equal-error threshold, else 0.

    >>> trials = [(1, 0.9), (1, 0.2), (0, 0.4), (0, 0.1)]
    >>> predictions = [Prediction(str(i), "all", (), target, score) for i, (target, score) in enumerate(trials)]
    >>> item_errors(predictions, Score(50.0, "%", False, {}, lambda weights: 50.0)).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    if all(item.reference in (0, 1) and isinstance(item.prediction, float | int) for item in predictions):
        return _trial_errors(predictions)
    weights = np.zeros(len(predictions))
    values = np.empty(len(predictions))
    for item in range(len(predictions)):
        weights[item] = 1.0
        values[item] = score.reweighted(weights)
        weights[item] = 0.0
    values /= 100.0 if score.unit == "%" else 1.0
    return np.clip(1.0 - values if score.higher_is_better else values, 0.0, 1.0)


def _trial_errors(predictions: Sequence[Prediction]) -> np.ndarray:
    scores = np.array([float(item.prediction) for item in predictions])
    match = np.array([item.reference == 1 for item in predictions])
    order = np.argsort(scores, kind="stable")
    misses = np.cumsum(match[order]) / max(1, match.sum())  # if the threshold lies above the trial
    false_alarms = 1 - np.cumsum(~match[order]) / max(1, (~match).sum())
    threshold = scores[order][np.argmin(np.abs(misses - false_alarms))]
    return np.where(match, scores <= threshold, scores > threshold).astype(float)
