"""Confusion matrices of classification tasks (KS, IC, SID, ER, own tasks): how often which label was taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superbench.contract import Prediction

OTHERS = "(other)"
"""The class for all labels that are not shown."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """`counts[i][j]`: how often the label `labels[i]` was answered by `labels[j]`. `left_out`: the number of labels in
    `(other)`."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    left_out: int = 0

    @property
    def recall(self) -> tuple[float | None, ...]:
        """The share of right answers for each label, in percent; None for a label without items, and for `(other)`."""
        rows = [(sum(row), row[place]) for place, row in enumerate(self.counts)]
        shares = [100.0 * right / total if total else None for total, right in rows]
        return tuple(None if label == OTHERS else share for label, share in zip(self.labels, shares, strict=True))


def label_text(label: Any) -> str:
    """Returns a label as text; of a record its values (`activate lights kitchen`).

    >>> label_text({"action": "activate", "object": "lights", "location": "none"}), label_text(1)
    ('activate lights none', '1')
    """
    return " ".join(map(str, label.values())) if isinstance(label, Mapping) else str(label)


def confusion(primary: str, predictions: Sequence[Prediction], most: int = 20) -> Confusion | None:
    """Returns the matrix of a task whose `primary` metric is the accuracy; None for other tasks.

    Of more than `most` labels, those with the most errors are shown (as reference or as answer), in alphabetical order, and all
    others are one class. Answers of several folds are added.
    """
    if primary != "accuracy" or not predictions:
        return None
    pairs = Counter((label_text(row.reference), label_text(row.prediction)) for row in predictions)
    known = sorted({label for pair in pairs for label in pair})
    shown = known
    if len(known) > most:
        errors = Counter[str]()
        for (reference, answer), count in pairs.items():
            if reference != answer:
                errors.update({reference: count, answer: count})
        shown = sorted(sorted(known, key=lambda label: (-errors[label], label))[: most - 1])
    labels = (*shown, OTHERS) if len(shown) < len(known) else tuple(shown)
    place = {label: number for number, label in enumerate(labels)}
    counts = [[0] * len(labels) for _ in labels]
    for (reference, answer), count in pairs.items():
        counts[place.get(reference, len(labels) - 1)][place.get(answer, len(labels) - 1)] += count
    return Confusion(labels, tuple(map(tuple, counts)), len(known) - len(shown))
