"""How wrong each answer of a test set is, item by item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from superbench.contract import Prediction, Score


def item_errors(predictions: Sequence[Prediction], score: Score) -> np.ndarray:
    """How wrong each item is, from 0 to 1; NaN where it cannot be said.

    An item's error is the score of the item alone. Trials (reference 0 or 1, prediction a number) have none alone: they are
    wrong where they fall on the wrong side of the threshold of equal errors.

    >>> said = [Prediction("a", "all", (), 1, 0.9), Prediction("b", "all", (), 1, 0.2), Prediction("c", "all", (), 0, 0.4)]
    >>> item_errors(said + [Prediction("d", "all", (), 0, 0.1)], Score(50.0, "%", False, {}, lambda weights: 50.0)).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    if all(one.reference in (0, 1) and isinstance(one.prediction, float | int) for one in predictions):
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
    scores = np.array([float(one.prediction) for one in predictions])
    match = np.array([one.reference == 1 for one in predictions])
    order = np.argsort(scores, kind="stable")
    misses = np.cumsum(match[order]) / max(1, match.sum())  # if the threshold lies above the trial
    false_alarms = 1 - np.cumsum(~match[order]) / max(1, (~match).sum())
    threshold = scores[order][np.argmin(np.abs(misses - false_alarms))]
    return np.where(match, scores <= threshold, scores > threshold).astype(float)
