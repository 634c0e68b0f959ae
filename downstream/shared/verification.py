"""Errors of a detector over all its thresholds: equal error rate, and the minimum of the detection cost.

Both accept weighted trials, so that intervals can resample speakers. Trials are sorted once; a new set of weights costs two
cumulative sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from superbench import Score

Errors = tuple[np.ndarray, np.ndarray]
"""Shares of accepted non-targets and of rejected targets, at every threshold from the strictest to the loosest."""


def equal_error_rate(scores: np.ndarray, labels: np.ndarray) -> Score:
    """Computes the rate at which the shares of accepted non-targets and of rejected targets are equal, in percent.

    `scores` (trials) higher for targets, `labels` (trials) 1 for targets, else 0. Between two thresholds the curve is a
    straight line, as in `brentq(x -> 1 - x - interp1d(fpr, tpr)(x))` over scikit-learn's ROC curve. NaN if there are no
    targets or no non-targets.

    >>> equal_error_rate(np.array([0.9, 0.4, 0.6, 0.1]), np.array([1, 1, 0, 0])).value
    50.0
    """
    return _score(scores, labels, lambda errors: 100.0 * _crossing(*errors), "%")


def minimum_cost(scores: np.ndarray, labels: np.ndarray, *, target_probability: float) -> Score:
    """Computes the least cost P·misses + (1 - P)·false alarms over thresholds / the cost of the better constant answer.

    NIST's detection cost with both unit costs 1; never above 1, since rejecting (or accepting) everything is allowed.

    >>> minimum_cost(np.array([0.9, 0.4, 0.6, 0.1]), np.array([1, 1, 0, 0]), target_probability=0.01).value
    0.5
    """
    target, other = target_probability, 1 - target_probability

    def least(errors: Errors) -> float:
        return float((target * errors[1] + other * errors[0]).min()) / min(target, other)

    return _score(scores, labels, least, "fraction")


def _score(scores: np.ndarray, labels: np.ndarray, value: Callable[[Errors], float], unit: Any) -> Score:
    curve = _curve(scores, labels)

    def reweighted(weights: np.ndarray) -> float:
        errors = curve(weights)
        return float("nan") if errors is None else value(errors)

    targets = float(labels.sum())
    counts = {"trials": float(len(labels)), "targets": targets, "nontargets": len(labels) - targets}
    return Score(
        value=reweighted(np.ones(len(labels))), unit=unit, higher_is_better=False, counts=counts, reweighted=reweighted
    )


def _curve(scores: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], Errors | None]:
    """Returns a function from weights to the errors at every distinct score; the first threshold accepts nothing."""
    order = np.argsort(-scores, kind="stable")
    is_target = labels[order] == 1
    last_of_ties = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))

    def errors(weights: np.ndarray) -> Errors | None:
        """Returns false alarms and misses at each threshold for these weights; None without targets or without non-targets."""
        mass = weights[order]
        accepted_targets = np.cumsum(np.where(is_target, mass, 0.0))
        accepted_others = np.cumsum(np.where(is_target, 0.0, mass))
        if not len(mass) or accepted_targets[-1] <= 0 or accepted_others[-1] <= 0:
            return None
        false_alarms = np.append(0.0, accepted_others[last_of_ties] / accepted_others[-1])
        misses = np.append(1.0, 1.0 - accepted_targets[last_of_ties] / accepted_targets[-1])
        return false_alarms, misses

    return errors


def _crossing(false_alarms: np.ndarray, misses: np.ndarray) -> float:
    """Returns where the piecewise linear curve through the points (false alarms, misses) meets the diagonal."""
    excess = false_alarms - misses  # from -1 to 1, never falling
    after = int(np.argmax(excess >= 0))
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(false_alarms[after - 1] + share * (false_alarms[after] - false_alarms[after - 1]))
