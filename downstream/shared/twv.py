"""Term weighted value: how well do scores separate the documents that contain a query from the others?

TWV(θ) = 1 - mean over queries of [P_miss(q, θ) + β P_fa(q, θ)], β = (C_fa / C_miss) (1 / P_target - 1); the maximum over one θ
for all queries is reported. Constants of the official scorer (MediaEval QUESST): P_target 0.0008, C_fa 1, C_miss 100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from superbench import Prediction, Score

BETA = (1 / 100) * (1 / 0.0008 - 1)
LARGEST_TABLE = 20_000_000


@dataclass(frozen=True)
class Absent:
    """Counts of what the ground truth contains but the system does not search (other languages), so that it is never detected.

    `queries` that have a target, `documents`, and for each searched query its `targets` in documents that are not searched.
    """

    queries: int = 0
    documents: int = 0
    targets: Mapping[str, int] = field(default_factory=dict)


def maximum_twv(predictions: Sequence[Prediction], absent: Absent) -> Score:
    """Computes MTWV, a fraction: a trial `query|document` is detected if its score is at least θ.

    Θ = ∞ detects none and gives 0.
    A query without any target is left out of the mean. Reweighting chooses θ again; the weight of a query is the mean weight of
    its trials, and absent queries keep their share.

    >>> trials = [Prediction("q|a", "all", ("q",), 1, 2.0), Prediction("q|b", "all", ("q",), 0, 1.0)]
    >>> maximum_twv(trials, Absent()).value, maximum_twv(trials, Absent(queries=3)).value
    (1.0, 0.25)
    """
    trials = _Ranked.of(predictions, absent)

    def reweighted(weights: np.ndarray) -> float:
        return trials.value(np.asarray(weights, float))

    value, detected = trials.best(np.ones(len(predictions)))
    hits = float(trials.target[:detected].sum())
    counts = {
        "queries": float(trials.scored.sum()),
        "queries_absent": float(absent.queries),
        "documents": float(trials.sizes.max(initial=0)),
        "documents_absent": float(absent.documents),
        "targets": float(trials.target.sum() + trials.targets_absent.sum()),
        "hits": hits,
        "false_alarms": float(trials.scored[trials.query[:detected]].sum()) - hits,
    }
    return Score(value=value, unit="fraction", higher_is_better=True, counts=counts, reweighted=reweighted)


@dataclass(frozen=True)
class _Ranked:
    """Trials sorted by falling score: index in the predictions, query, target or not, whether the next score is lower."""

    index: np.ndarray
    query: np.ndarray
    target: np.ndarray
    last: np.ndarray
    sizes: np.ndarray  # trials of each query
    scored: np.ndarray  # which queries have a target
    targets_absent: np.ndarray  # by query
    absent: Absent

    @classmethod
    def of(cls, predictions: Sequence[Prediction], absent: Absent) -> _Ranked:
        """Sorts the trials; the name of a query is the part of a trial's id before the bar."""
        names, query = np.unique([trial.id.partition("|")[0] for trial in predictions], return_inverse=True)
        score = np.array([trial.prediction for trial in predictions], float)
        target = np.array([trial.reference for trial in predictions], float)
        order = np.argsort(-score, kind="stable")
        last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True)) if len(score) else np.empty(0, int)
        elsewhere = np.array([absent.targets.get(name, 0) for name in names.tolist()], float)
        scored = np.bincount(query, target, len(names)) + elsewhere > 0
        return cls(
            index=order, query=query[order], target=target[order], last=last, sizes=np.bincount(query), scored=scored,
            targets_absent=elsewhere, absent=absent,
        )  # fmt: skip

    def value(self, weights: np.ndarray) -> float:
        """Computes MTWV for weighted trials.

        If all trials of a query have the same weight (intervals resample queries), the curve is linear in the weights of the
        queries, and few thresholds suffice: a false alarm never raises the curve, so its maximum is at a target.
        """
        by_query = weights[self._first]
        if self._curves is None or not np.array_equal(by_query[self._query_of], weights):
            return self.best(weights)[0]
        total = float(by_query[self.scored].sum())
        if not total:
            return float("nan")
        return self._share * max(float((self._curves @ by_query).max(initial=0.0)) / total, 0.0)

    @cached_property
    def _query_of(self) -> np.ndarray:
        """Returns the query of each trial, in the order of the predictions."""
        query = np.empty_like(self.query)
        query[self.index] = self.query
        return query

    @cached_property
    def _first(self) -> np.ndarray:
        """Returns one trial of each query."""
        return np.unique(self._query_of, return_index=True)[1]

    @cached_property
    def _curves(self) -> np.ndarray | None:
        """Returns the gain of each query at thresholds that end at a target (thresholds, queries).

        None if the array is too large.
        """
        ends = self.last[np.unique(np.searchsorted(self.last, np.flatnonzero(self.target > 0)))]
        if len(ends) * len(self.sizes) > LARGEST_TABLE:
            return None
        reward, penalty = self._rewards(np.ones(len(self.sizes)), np.bincount(self.query, self.target, len(self.sizes)))
        gains = np.where(self.target > 0, reward[self.query], -penalty[self.query])
        curves = np.zeros((len(ends), len(self.sizes)))
        reach = int(ends.max(initial=-1)) + 1
        np.add.at(curves, (np.searchsorted(ends, np.arange(reach)), self.query[:reach]), gains[:reach])
        return np.cumsum(curves, axis=0)

    @property
    def _share(self) -> float:
        present = float(self.scored.sum())
        return present / (present + self.absent.queries)

    def _rewards(self, weights: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the reward of a hit and the penalty of a false alarm for each query; `targets` are weights."""
        non_targets = weights * self.sizes - targets + weights * (self.absent.documents - self.targets_absent)
        targets = targets + weights * self.targets_absent
        return _over(weights, targets) * self.scored, BETA * _over(weights, non_targets) * self.scored

    def best(self, weights: np.ndarray) -> tuple[float, int]:
        """Returns MTWV, and the number of trials detected at its threshold."""
        weight, queries = weights[self.index], len(self.sizes)
        query_weights = np.bincount(self.query, weight, queries) / self.sizes
        targets = np.bincount(self.query, weight * self.target, queries)
        reward, penalty = self._rewards(query_weights, targets)
        gains = weight * np.where(self.target > 0, reward[self.query], -penalty[self.query])
        curve = np.cumsum(gains)[self.last]
        total = float(query_weights[self.scored].sum())
        if not total:
            return float("nan"), 0
        top = int(np.argmax(curve))
        return (self._share * float(curve[top]) / total, int(self.last[top]) + 1) if curve[top] > 0 else (0.0, 0)


def _over(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """Returns the quotient; 0 where the denominator is 0."""
    return np.divide(numerators, denominators, out=np.zeros_like(numerators), where=denominators > 0)
