"""Which corpora a result was made on, as far as a board can tell: the published ones, synthetic miniatures, others.

The official protocol counts as such on the published corpora alone. The fingerprint covers the bytes of every sound, so that it
cannot be worked out from public lists; what can be is how many items, classes, speakers and trials there are, which each card
has. A passport must have these numbers, and those of its test must be the ones that the predictions show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from superbench import plugins
from superbench.contract import Prediction
from superbench.data.passport import departures
from superbench.errors import BrokenPlugin, UnknownName, first_of
from superbench.results.result import Result, is_miniature

UNSCORED = {"mini"}
"""Protocols without a SUPERB score; they are made for any corpora."""

Corpora = Literal["published", "miniature", "other"]


def corpora_of(result: Result) -> Corpora:
    """By its passport; `mini` recipes are on a miniature or on another corpus."""
    if is_miniature(result):
        return "miniature"
    return "other" if result.task.protocol in UNSCORED or unlike_published(result) else "published"


def unlike_published(result: Result) -> list[str]:
    """How the passport of a result departs from the published corpus, one phrase for each count; of a task that cannot be
    loaded here, or whose card has no counts, nothing is known."""
    try:
        card = plugins.task(result.task.name).card
    except (UnknownName, BrokenPlugin):
        return []
    counts = result.data.passport.counts
    if card.counts and not counts:
        return ["its passport has no counts"]
    return departures(card.counts, counts)


def said_unlike(result: Result) -> str:
    """The same in a phrase: `KS (test: 96 in place of 3081, and 26 more)`."""
    return f"{result.task.name.upper()} ({first_of(unlike_published(result), between='; ')})"


def contradictions(result: Result, predictions: Sequence[Prediction]) -> list[str]:
    """Where the passport's counts of the test are not those of the predictions, whose references count: items, or trials, and
    each of their classes."""
    passport, folds = result.data.passport, sorted({one.fold for one in predictions})
    found = []
    for fold in folds:
        key = "test" if len(folds) == 1 else f"{fold}/test"
        what = f"{key} trials" if passport.trials.get(f"{fold}/test") else key
        own = [one for one in predictions if one.fold == fold]
        found += _unlike(passport.counts, what, own)
    return found


def _unlike(counts: Mapping[str, int], what: str, predictions: Sequence[Prediction]) -> list[str]:
    classes = Counter(str(one.reference) for one in predictions)
    there = {what: len(predictions)} | {
        key: classes[key.removeprefix(f"{what}/")] for key in counts if key.startswith(f"{what}/")
    }
    return [
        f"its passport counts {counts[key]} of {key}, its predictions {number}"
        for key, number in there.items()
        if counts.get(key, number) != number
    ]
