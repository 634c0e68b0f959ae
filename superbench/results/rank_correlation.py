"""Rank correlation (Spearman) between scores with a few examples and scores of probes, with a bootstrap interval.

Few-shot scores do not replace probes: whether both order the models alike is measured, never assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEWEST_ROWS = 3
"""With two rows, a rank correlation is 1 or -1 whatever they are."""
FEWEST_FOR_INTERVAL = 5
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rank correlation over so many rows, of means over so many tasks; its 95 % interval, or None."""

    value: float
    interval: tuple[float, float] | None
    rows: int
    tasks: int


def rank_correlation(first: np.ndarray, second: np.ndarray, seed: int = 0) -> Correlation | None:
    """Return the rank correlation of the means over tasks; arrays (row, task), greater is better.

    The interval resamples rows, and tasks if there are several (percentiles; resamples in which all rows are equal have no
    correlation and are left out). None for fewer than three rows, or if one side orders nothing.

    >>> rank_correlation(np.array([[1.0], [2.0], [3.0]]), np.array([[10.0], [30.0], [20.0]])).value
    0.5
    """
    rows, tasks = first.shape
    if rows < FEWEST_ROWS or not tasks:
        return None
    value = _spearman(first.mean(1), second.mean(1))
    if np.isnan(value):
        return None
    random = np.random.default_rng(seed)
    values = []
    for _ in range(RESAMPLES if rows >= FEWEST_FOR_INTERVAL else 0):
        chosen = np.ix_(random.integers(0, rows, rows), random.integers(0, tasks, tasks))
        values.append(_spearman(first[chosen].mean(1), second[chosen].mean(1)))
    finite = np.array(values)[np.isfinite(values)] if values else np.empty(0)
    interval = tuple(map(float, np.quantile(finite, [0.025, 0.975]))) if len(finite) else None
    return Correlation(value, interval, rows, tasks)  # type: ignore[arg-type]


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation of the ranks, ties sharing their mean rank; NaN if all values of one side are equal."""
    from scipy.stats import rankdata  # half of the time in which a board's worker starts, and seldom needed

    ranks = [rankdata(np.round(side, 9)) for side in (first, second)]
    centred = [side - side.mean() for side in ranks]
    norms = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float(centred[0] @ centred[1]) / norms if norms else float("nan")
