"""Scores computed from counts: the ratio of two sums, and accuracy over items.

A metric is a pure function: it counts per item, sums, and divides once. Its value for other item weights (resampled speakers)
is computed from the same counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from superbench.contract.items import Split
from superbench.contract.predictions import Outputs, Prediction, Score, Setting


def ratio(
    numerators: Sequence[float] | np.ndarray,
    denominators: Sequence[float] | np.ndarray,
    *,
    unit: Literal["%", "fraction"] = "%",
    higher_is_better: bool,
    counts: Mapping[str, float],
) -> Score:
    """Returns the sum of `numerators` over the sum of `denominators` (one of each per item), times 100 for `%`.

    >>> ratio([1, 0], [4, 4], higher_is_better=False, counts={"errors": 1, "words": 8}).value
    12.5
    """
    numerator, denominator = np.asarray(numerators, float), np.asarray(denominators, float)
    factor = 100.0 if unit == "%" else 1.0

    def reweighted(weights: np.ndarray) -> float:
        total = float(weights @ denominator)
        return factor * float(weights @ numerator) / total if total else float("nan")

    return Score(
        parts=(factor * numerator, denominator),
        value=reweighted(np.ones(len(numerator))),
        unit=unit,
        higher_is_better=higher_is_better,
        counts=dict(counts),
        reweighted=reweighted,
    )


def accuracy(predictions: Sequence[Prediction]) -> Score:
    """Returns the share of items whose prediction equals the reference, in percent.

    >>> accuracy([Prediction("a", "all", (), "yes", "yes"), Prediction("b", "all", (), "no", "yes")]).value
    50.0
    """
    correct = [float(p.prediction == p.reference) for p in predictions]
    counts = {"correct": sum(correct), "items": float(len(correct))}
    return ratio(correct, np.ones(len(correct)), higher_is_better=True, counts=counts)


def one_per_item(fold: str, split: Split, outputs: Outputs, only: Setting | None) -> Iterable[tuple[Setting, list[Prediction]]]:
    """The usual `Selection.candidates`: no setting; the decoded output is the prediction, the label is the reference."""
    predictions = [
        Prediction(id=item.id, fold=fold, group=item.group, reference=item.label, prediction=outputs[item.id])
        for item in split.items
    ]
    yield {}, predictions
