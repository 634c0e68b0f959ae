"""Whether answers tell items apart at all: one answer for nearly every item is a head that collapsed, whatever its score.

Judged from predictions beside their references alone: classes, transcripts, several answers to an item, scores of trials.
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
"""So many items with one answer are nearly all."""
SURPLUS = 0.2
"""... unless the commonest reference is as common, but for this share of the items."""
LEAST = 5
"""Fewer items say nothing."""
SPREAD = 1e-5
"""Scores that differ by less, relative to large ones, are one score."""


def collapses(predictions: Sequence[Prediction]) -> list[str]:
    """A note of what collapsed, with the folds where it did; none where answers differ as references do."""
    folds: dict[str, list[Prediction]] = {}
    for one in predictions:
        folds.setdefault(one.fold, []).append(one)
    found = {name: text for name, own in folds.items() if len(own) >= LEAST and (text := _collapse(own))}
    if len(folds) < 2:
        return list(found.values())
    return [f"fold {name}: {text}" for name, text in found.items()]


def _collapse(predictions: Sequence[Prediction]) -> str:
    answers, references = [one.prediction for one in predictions], [one.reference for one in predictions]
    if all(_number(answer) for answer in answers) and not all(isinstance(answer, Integral) for answer in answers):
        return _one_score(answers, references)
    if whole := _one_answer(answers, references, "items"):
        return whole
    if all(isinstance(answer, Mapping) for answer in [*answers, *references]):
        return _one_field(answers, references)
    if all(isinstance(answer, str) for answer in [*answers, *references]):
        return _one_answer(_words(answers), _words(references), "words")
    return ""


def _one_answer(answers: Sequence[Any], references: Sequence[Any], what: str) -> str:
    if not answers or not references:
        return ""
    given, expected = Counter(map(_key, answers)), Counter(map(_key, references))
    (answer, times), often = given.most_common(1)[0], expected.most_common(1)[0][1] / len(references)
    share = times / len(answers)
    if share < SHARE or share - often < SURPLUS:
        return ""
    return (
        f"collapsed: {_percent(share)} of the {len(answers)} {what} in the predictions are {_shown(answer)}, the commonest "
        f"reference has {_percent(often)}: the score tells little of the features"
    )


def _one_field(answers: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]) -> str:
    for name in references[0]:
        found = _one_answer([one.get(name) for one in answers], [one.get(name) for one in references], "items")
        if found:
            return f"{name} {found}"
    return ""


def _one_score(scores: Sequence[float], references: Sequence[Any]) -> str:
    values, kinds = np.asarray(scores, dtype=float), np.array([_key(reference) for reference in references])
    middle, large = np.median(values), np.quantile(np.abs(values), SHARE)
    same = np.abs(values - middle) <= SPREAD * large
    shares = [same[kinds == kind].mean() for kind in np.unique(kinds)]
    if len(shares) < 2 or min(shares) < SHARE:
        return ""
    return (
        f"collapsed: {_percent(same.mean())} of the {len(values)} scores are {middle:.4g}, for targets and others alike: the "
        "score tells little of the features"
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
