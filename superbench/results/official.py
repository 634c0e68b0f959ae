"""Determines the corpora of a result: the published ones, synthetic miniatures, or others.

Results count as official only on the published corpora. The fingerprint covers the bytes of every audio file, so it cannot be
computed from public lists. The numbers of items, classes, speakers and trials can; each card contains them. The passport of a
result must contain the same numbers, and the numbers of its test split must agree with the predictions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from superbench import plugins
from superbench.contract import UNTRAINED, Prediction
from superbench.data.passport import departures
from superbench.errors import BrokenPlugin, UnknownName, first_of
from superbench.results.result import Result, is_miniature

MINI = "mini"
"""Short recipes, which may be used on any corpora."""
UNSCORED = {MINI} | UNTRAINED
"""Protocols without a SUPERB score: its reference points are scores of probes that were trained by the official recipes."""

Corpora = Literal["published", "miniature", "other"]


def corpora_of(result: Result) -> Corpora:
    """Return the corpora of a result, from its passport; corpora that were prepared by `mini` recipes count as `miniature` or
    `other`."""
    if is_miniature(result):
        return "miniature"
    return "other" if prepared_by(result) == MINI or unlike_published(result) else "published"


def prepared_by(result: Result) -> str:
    """Return the protocol by whose rules items and segments were cut: its own; if it trains nothing, the one that it names."""
    protocol = result.task.protocol
    return result.environment.get("prepared", protocol) if protocol in UNTRAINED else protocol


def unlike_published(result: Result) -> list[str]:
    """Return the differences between the passport of a result and the published corpus, one phrase for each count; an empty
    list if the task cannot be loaded here, or if its card has no counts."""
    try:
        card = plugins.task(result.task.name).card
    except (UnknownName, BrokenPlugin):
        return []
    counts = result.data.passport.counts
    if card.counts and not counts:
        return ["its passport has no counts"]
    return departures(card.counts, counts)


def said_unlike(result: Result) -> str:
    """Return the same differences as one phrase: `KS (test: 96 in place of 3081, and 26 more)`."""
    return f"{result.task.name.upper()} ({first_of(unlike_published(result), between='; ')})"


def contradictions(result: Result, predictions: Sequence[Prediction]) -> list[str]:
    """Return where the passport's counts of the test split differ from the predictions: items or trials, in total and per class
    of the references."""
    passport, folds = result.data.passport, sorted({prediction.fold for prediction in predictions})
    differing = []
    for fold in folds:
        key = "test" if len(folds) == 1 else f"{fold}/test"
        what = f"{key} trials" if passport.trials.get(f"{fold}/test") else key
        of_fold = [prediction for prediction in predictions if prediction.fold == fold]
        differing += _unlike(passport.counts, what, of_fold)
    return differing


def _unlike(counts: Mapping[str, int], what: str, predictions: Sequence[Prediction]) -> list[str]:
    classes = Counter(str(prediction.reference) for prediction in predictions)
    predicted = {what: len(predictions)} | {
        key: classes[key.removeprefix(f"{what}/")] for key in counts if key.startswith(f"{what}/")
    }
    return [
        f"its passport counts {counts[key]} of {key}, its predictions {number}"
        for key, number in predicted.items()
        if counts.get(key, number) != number
    ]
