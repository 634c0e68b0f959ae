"""Which differences between rows are real: a paired test for every pair of a column, and ranks that are shared where none is.

All rows of a column were tested on the same items, and the same groups were drawn for each of them (`probing.intervals`): the
difference of two rows' replicates is the replicate of their difference. So a row costs one resampling, whoever it is compared
with, and every pair follows from a covariance. The statistic is the difference over its standard error, Student's t on the
groups' degrees of freedom, two-sided; Holm (1979) over all pairs of the column keeps the chance of any false "better" at 5 %.
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
    """One column over some rows. `rows` are indices of those that could be compared; arrays are (rows, rows).

    `difference[i, j]` = value of i - value of j; `error` its standard error; `p` adjusted by Holm; `better[i, j]`: i is surely
    better than j.
    """

    rows: tuple[int, ...]
    difference: np.ndarray
    error: np.ndarray
    p: np.ndarray
    better: np.ndarray
    freedom: int

    def half(self) -> float:
        """How many standard errors a 95 % interval of one difference reaches to either side."""
        return float(special.stdtrit(self.freedom, 1 - LEVEL / 2)) if self.freedom > 0 else float("nan")


@dataclass(frozen=True)
class Standing:
    """Where a row stands in a column: 1 + the number of rows that are surely better; `tied`: how many others stand there.

    `sure` is False for a row that could not be compared, which then stands by its value.
    """

    place: int
    tied: int = 0
    sure: bool = True


@dataclass
class Standings:
    """A column's standings by row index, and the comparisons they follow from (one for each set of test groups)."""

    places: dict[int, Standing] = field(default_factory=dict)
    comparison: PairedTests | None = None


def standings(rows: Sequence[Row], column: Column) -> Standings:
    """Standings of the rows that have the column and do not deviate from its recipe.

    >>> standings([], Column("ks", "accuracy", "", "%", True, "content", True, None, "")).places
    {}
    """
    fair = [i for i, row in enumerate(rows) if column.key in row.cells and not row.cells[column.key].deviations]
    found = Standings(comparison=compare(rows, fair, column))
    sign = 1.0 if column.higher_is_better else -1.0
    values = {i: sign * rows[i].cells[column.key].value for i in fair}
    places = {i: 1 + sum(other > values[i] for other in values.values()) for i in fair}
    compared = found.comparison.rows if found.comparison else ()
    if found.comparison is not None and len(compared) == len(fair):
        ahead = found.comparison.better.sum(axis=0)
        places = {row: 1 + int(count) for row, count in zip(compared, ahead, strict=True)}
    shared = list(places.values())
    found.places = {i: Standing(place, shared.count(place) - 1, i in compared) for i, place in places.items()}
    return found


def compare(rows: Sequence[Row], among: Sequence[int], column: Column) -> PairedTests | None:
    """The paired test of every pair among those rows that have replicates of the commonest design; None below two."""
    known = {i: rows[i].replicates[column.key] for i in among if column.key in rows[i].replicates}
    designs = [one.design for one in known.values()]
    if not designs:
        return None
    design = max(sorted(set(designs)), key=designs.count)
    chosen = [i for i, one in known.items() if one.design == design]
    if len(chosen) < 2:
        return None
    values = np.array([rows[i].cells[column.key].value for i in chosen])
    return compared(tuple(chosen), values, [known[i] for i in chosen], column.higher_is_better)


def compared(rows: tuple[int, ...], values: np.ndarray, drawn: Sequence[Replicates], higher_is_better: bool) -> PairedTests:
    """The comparison of rows with these values and replicates, all of one design."""
    matrix, freedom = np.array([one.values for one in drawn]), drawn[0].freedom
    covariance = _covariance(matrix, drawn[0])
    own = np.diag(covariance)
    variance = own[:, None] + own[None, :] - 2 * covariance
    variance[variance < 1e-9 * (own[:, None] + own[None, :])] = 0.0  # nothing but rounding
    error = np.sqrt(variance)
    difference = values[:, None] - values[None, :]
    p = _adjusted(_p_values(difference, error, freedom, drawn[0].groups))
    ahead = difference > 0 if higher_is_better else difference < 0
    return PairedTests(rows, difference, error, p, ahead & (p <= LEVEL), freedom)


def _covariance(matrix: np.ndarray, design: Replicates) -> np.ndarray:
    """Of the scores, from their replicates (rows, replicates). The bootstrap's is enlarged by G / (G - 1), which the plug-in
    variance of G groups lacks; the jackknife's is summed over folds, as in `intervals.jackknife_variance`."""
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


def _p_values(difference: np.ndarray, error: np.ndarray, freedom: int, groups: int) -> np.ndarray:
    """Two-sided. Where every group shows the same difference there is no error to divide by: then what an exact test by signs
    can say of so many groups."""
    if freedom < 1:
        return np.ones_like(difference)
    ratio = np.divide(np.abs(difference), error, out=np.full_like(difference, np.inf), where=error > 0)
    p = 2 * special.stdtr(freedom, -ratio)
    return np.where(difference == 0, 1.0, np.where(error > 0, p, 2.0 ** (1 - min(groups, 1000))))


def _adjusted(p: np.ndarray) -> np.ndarray:
    """Holm's step-down over the pairs above the diagonal."""
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
    """[first, second, difference, half of its 95 % interval, p after Holm] of every pair, rows numbered by `order`."""
    half = comparison.half()
    return [
        [
            order[one], order[other], float(comparison.difference[i, j]), float(half * comparison.error[i, j]),
            float(comparison.p[i, j]),
        ]
        for i, one in enumerate(comparison.rows)
        for j, other in enumerate(comparison.rows)
        if i < j
    ]  # fmt: skip
