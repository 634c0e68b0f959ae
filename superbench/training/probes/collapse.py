"""Detects collapsed heads: a head that gives the same answer to almost every item has collapsed, whatever its score.

The test compares predictions with references: classes, transcripts, several answers per item, or scores of trials.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from superbench.contract import Prediction

SHARE = 0.9
"""A head may have collapsed if at least this share of the items has the same answer."""
SURPLUS = 0.2
"""It has collapsed only if the share of this answer exceeds that of the most common reference by this much."""
LEAST = 5
"""With fewer items the test is not made."""
SPREAD = 1e-5
"""Scores that differ by less, relative to the largest scores, count as equal."""


def collapses(predictions: Sequence[Prediction]) -> list[str]:
    """Return a note for every fold in which the head collapsed; an empty list if the answers vary like the references."""
    folds: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        folds.setdefault(prediction.fold, []).append(prediction)
    notes = {name: text for name, members in folds.items() if len(members) >= LEAST and (text := _collapse(members))}
    if len(folds) < 2:
        return list(notes.values())
    return [f"fold {name}: {text}" for name, text in notes.items()]


def _collapse(predictions: Sequence[Prediction]) -> str:
    answers, references = [item.prediction for item in predictions], [item.reference for item in predictions]
    if all(_number(answer) for answer in answers) and not all(isinstance(answer, Integral) for answer in answers):
        return _one_score(answers, references)
    if note := _one_answer(answers, references, "items"):
        return note
    if all(isinstance(answer, Mapping) for answer in [*answers, *references]):
        return _one_field(answers, references)
    if all(isinstance(answer, str) for answer in [*answers, *references]):
        return _one_answer(_words(answers), _words(references), "words")
    return ""


def _one_answer(answers: Sequence[Any], references: Sequence[Any], what: str) -> str:
    if not answers or not references:
        return ""
    answer, count = Counter(map(_key, answers)).most_common(1)[0]
    share = count / len(answers)
    share_of_reference = Counter(map(_key, references)).most_common(1)[0][1] / len(references)
    if share < SHARE or share - share_of_reference < SURPLUS:
        return ""
    return (
        f"collapsed: {_percent(share)} of the {len(answers)} {what} in the predictions are {_shown(answer)}; the most common "
        f"reference has {_percent(share_of_reference)}. The score says little about the features"
    )


def _one_field(answers: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]) -> str:
    for name in references[0]:
        note = _one_answer([answer.get(name) for answer in answers], [answer.get(name) for answer in references], "items")
        if note:
            return f"{name} {note}"
    return ""


def _one_score(scores: Sequence[float], references: Sequence[Any]) -> str:
    values, labels = np.asarray(scores, dtype=float), np.array([_key(reference) for reference in references])
    middle, large = np.median(values), np.quantile(np.abs(values), SHARE)
    same = np.abs(values - middle) <= SPREAD * large
    shares = [same[labels == label].mean() for label in np.unique(labels)]
    if len(shares) < 2 or min(shares) < SHARE:
        return ""
    return (
        f"collapsed: {_percent(same.mean())} of the {len(values)} scores are {middle:.4g}, for targets and non-targets alike. "
        "The score says little about the features"
    )


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _words(texts: Sequence[str]) -> list[str]:
    return [word for text in texts for word in text.split()]


def _key(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _shown(answer: str, longest: int = 40) -> str:
    if not answer.strip() or answer in ("[]", "null"):
        return "empty"
    return repr(answer if len(answer) <= longest else answer[: longest - 1] + "…")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
