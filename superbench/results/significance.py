"""Tests which differences between rows are significant: a paired test for each pair of rows in a column; ties share a rank.

All rows of a column were tested on the same items, and the same groups are drawn for each row (`results/intervals.py`).
Therefore the difference of two rows' replicates is the replicate of their difference: each row is resampled once, and every
pair follows from a covariance. The statistic is the difference divided by its standard error, with Student's t on the degrees
of freedom of the groups, two-sided. Holm's method (1979) over all pairs of the column limits the probability of any false
"better" to 5 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from superbench.results.intervals import Replicates
from superbench.results.rows import Column, Row

LEVEL = 0.05


@dataclass(frozen=True)
class PairedTests:
    """The tests of one column. `rows` are the indices of the rows that could be compared; arrays are (rows, rows).

    `difference[i, j]` is the value of i minus the value of j, `error` its standard error, `p` the p value adjusted by Holm's
    method; `better[i, j]`: i is significantly better than j.
    """

    rows: tuple[int, ...]
    difference: np.ndarray
    error: np.ndarray
    p: np.ndarray
    better: np.ndarray
    freedom: int | np.ndarray

    def half(self) -> np.ndarray:
        """Return the half width of the 95 % interval of each difference (nan without degrees of freedom)."""
        freedom = np.where(np.asarray(self.freedom) > 0, self.freedom, np.nan)
        half: np.ndarray = special.stdtrit(freedom, 1 - LEVEL / 2) * self.error
        return half


@dataclass(frozen=True)
class Standing:
    """The rank of a row in a column: 1 + the number of rows that are significantly better; `tied`: the number of other rows
    with the same rank.

    `sure` is False for a row that could not be tested; its rank follows from its value.
    """

    place: int
    tied: int = 0
    sure: bool = True


@dataclass
class Standings:
    """The standings of a column by row index, and the paired tests from which they follow."""

    places: dict[int, Standing] = field(default_factory=dict)
    comparison: PairedTests | None = None


def standings(rows: Sequence[Row], column: Column) -> Standings:
    """Return the standings of the rows that have the column and do not deviate from its recipe.

    >>> standings([], Column("ks", "accuracy", "", "%", True, "content", True, None, "")).places
    {}
    """
    fair = [i for i, row in enumerate(rows) if column.key in row.cells and row.cells[column.key].ranked]
    sign = 1.0 if column.higher_is_better else -1.0
    return placed({i: sign * rows[i].cells[column.key].value for i in fair}, compare(rows, fair, column))


def placed(values: Mapping[int, float], comparison: PairedTests | None) -> Standings:
    """Return the standings of rows with these values (greater is better); by value alone if not all of them were tested."""
    places = {i: 1 + sum(other > value for other in values.values()) for i, value in values.items()}
    tested = comparison.rows if comparison else ()
    if comparison is not None and len(tested) == len(values):
        places = {row: 1 + int(count) for row, count in zip(tested, comparison.better.sum(axis=0), strict=True)}
    shared = list(places.values())
    return Standings({i: Standing(place, shared.count(place) - 1, i in tested) for i, place in places.items()}, comparison)


def compare(rows: Sequence[Row], among: Sequence[int], column: Column) -> PairedTests | None:
    """Test every pair of the rows that have replicates of the most frequent design; None if there are fewer than two."""
    known = {i: rows[i].replicates[column.key] for i in among if column.key in rows[i].replicates}
    designs = [replicates.design for replicates in known.values()]
    if not designs:
        return None
    design = max(sorted(set(designs)), key=designs.count)
    chosen = [i for i, replicates in known.items() if replicates.design == design]
    if len(chosen) < 2:
        return None
    values = np.array([rows[i].cells[column.key].value for i in chosen])
    return compared(tuple(chosen), values, [known[i] for i in chosen], column.higher_is_better)


def compared(rows: tuple[int, ...], values: np.ndarray, drawn: Sequence[Replicates], higher_is_better: bool) -> PairedTests:
    """Return the paired tests of rows with these values and replicates, all of one design."""
    matrix, freedom = np.array([replicates.values for replicates in drawn]), drawn[0].freedom
    covariance = _covariance(matrix, drawn[0])
    single = np.diag(covariance)
    variance = single[:, None] + single[None, :] - 2 * covariance
    variance[variance < 1e-9 * (single[:, None] + single[None, :])] = 0.0  # rounding errors only
    error = np.sqrt(variance)
    difference = values[:, None] - values[None, :]
    p = holm_adjusted(_p_values(difference, error, freedom, drawn[0].groups))
    ahead = difference > 0 if higher_is_better else difference < 0
    return PairedTests(rows=rows, difference=difference, error=error, p=p, better=ahead & (p <= LEVEL), freedom=freedom)


def averaged(tests: Sequence[PairedTests], factors: Sequence[float]) -> PairedTests | None:
    """Return the paired tests of the mean over tasks of `factor · score`, for rows that were tested in every task.

    Tasks have different speakers, so the variances add up. The degrees of freedom of each pair are those of such a sum
    (Satterthwaite 1946, Biometrics Bulletin 2, 110-114), never fewer than those of any task.
    """
    rows = tuple(sorted(set.intersection(*(set(test.rows) for test in tests)))) if tests else ()
    if len(rows) < 2:
        return None
    parts = [np.ix_(*2 * [[test.rows.index(row) for row in rows]]) for test in tests]
    scaled = list(zip(tests, parts, factors, strict=True))
    difference = np.mean([test.difference[part] * factor for test, part, factor in scaled], axis=0)
    variances = np.array([(test.error[part] * factor) ** 2 for test, part, factor in scaled])
    error = np.sqrt(variances.sum(axis=0)) / len(tests)
    freedom = _freedom_of_sum(variances, np.array([float(test.freedom) for test in tests]))
    p = holm_adjusted(_p_values(difference, error, freedom, int(freedom.min()) + 1))
    better = (difference > 0) & (p <= LEVEL)
    return PairedTests(rows=rows, difference=difference, error=error, p=p, better=better, freedom=freedom)


def _freedom_of_sum(variances: np.ndarray, freedoms: np.ndarray) -> np.ndarray:
    """Return the degrees of freedom of sums of estimated variances (parts, rows, rows), whose parts have `freedoms` (parts)."""
    least = freedoms.min()
    if least < 1:
        return np.full(variances.shape[1:], least)
    squares = (variances**2 / freedoms[:, None, None]).sum(axis=0)
    total = variances.sum(axis=0) ** 2
    return np.divide(total, squares, out=np.full_like(total, least), where=squares > 0)


def _covariance(matrix: np.ndarray, design: Replicates) -> np.ndarray:
    """Return the covariance of the scores, from their replicates (rows, replicates). That of the bootstrap is multiplied by
    G / (G - 1), to correct the plug-in variance of G groups; that of the jackknife is summed over folds, as in
    `intervals.jackknife_variance`."""
    kept = np.isfinite(matrix).all(axis=0)
    if design.folds is None:
        centred = matrix[:, kept] - matrix[:, kept].mean(axis=1, keepdims=True)
        return centred @ centred.T / max(kept.sum() - 1, 1) * design.groups / (design.groups - 1)
    total = np.zeros((len(matrix), len(matrix)))
    for fold in range(int(design.folds.max(initial=0)) + 1):
        part = matrix[:, kept & (design.folds == fold)]
        if part.shape[1] > 1:
            centred = part - part.mean(axis=1, keepdims=True)
            total += (part.shape[1] - 1) / part.shape[1] * (centred @ centred.T)
    return total


def _p_values(difference: np.ndarray, error: np.ndarray, freedom: int | np.ndarray, groups: int) -> np.ndarray:
    """Return two-sided p values. If all groups have the same difference, the standard error is zero; then the smallest p value
    of an exact sign test with so many groups is used."""
    if np.min(freedom) < 1:
        return np.ones_like(difference)
    ratio = np.divide(np.abs(difference), error, out=np.full_like(difference, np.inf), where=error > 0)
    p = 2 * special.stdtr(freedom, -ratio)
    return np.where(difference == 0, 1.0, np.where(error > 0, p, 2.0 ** (1 - min(groups, 1000))))


def holm_adjusted(p: np.ndarray) -> np.ndarray:
    """Return p values adjusted with Holm's step-down method over the pairs above the diagonal."""
    upper = np.triu_indices(len(p), 1)
    single = p[upper]
    order = np.argsort(single, kind="stable")
    steps = np.maximum.accumulate(np.minimum(single[order] * np.arange(len(single), 0, -1), 1.0))
    adjusted = np.empty_like(single)
    adjusted[order] = steps
    full = np.ones_like(p)
    full[upper] = adjusted
    return np.minimum(full, full.T)


def pairs(comparison: PairedTests, order: Mapping[int, int]) -> list[list[float | int]]:
    """Return [first, second, difference, half of its 95 % interval, adjusted p] of every pair, rows numbered by `order`."""
    half = comparison.half()
    return [
        [
            order[first], order[second], float(comparison.difference[i, j]), float(half[i, j]),
            float(comparison.p[i, j]),
        ]
        for i, first in enumerate(comparison.rows)
        for j, second in enumerate(comparison.rows)
        if i < j
    ]  # fmt: skip
