"""Determines the corpora of a result: the published ones, synthetic miniatures, or others.

Results count as official only on the published corpora. The fingerprint covers the bytes of every audio file, so it cannot be
computed from public lists. The numbers of items, classes, speakers and trials can; each card contains them. The passport of a
result must contain the same numbers, and they must agree with its other entries and with the predictions (`consistency`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from superbench.contract import CUSTOM, UNTRAINED
from superbench.contract.sizes import Size
from superbench.data.passport import Passport, departures
from superbench.errors import BrokenPlugin, CommandError, first_of
from superbench.results.own import task_of
from superbench.results.result import Result, is_miniature

MINI = "mini"
"""Short recipes, which may be used on any corpora."""
UNSCORED = {MINI, CUSTOM} | UNTRAINED
"""Protocols without a SUPERB score: its reference points are scores of probes that were trained by the official recipes."""

MOST_TIMES = 2
"""The cards give hours rounded, and some of them from papers."""

Corpora = Literal["published", "miniature", "other"]


Data = tuple[str, str]
"""A task, and the fingerprint of its data or the digest of one of its lists."""


def corpora_of(result: Result, small: Collection[Data] = ()) -> Corpora:
    """Return the corpora of a result, from its passport; corpora that were prepared by `mini` or `custom` recipes count as
    `miniature` or `other`. `small`: data that are known to be miniatures, whatever the passport says (see `miniatures`)."""
    if is_miniature(result) or not _data_of(result).isdisjoint(small):
        return "miniature"
    return "other" if prepared_by(result) in (MINI, CUSTOM) or unlike_published(result) else "published"


def miniatures(results: Iterable[Result]) -> frozenset[Data]:
    """Return the data that the passport of any of the results describes as a miniature."""
    return frozenset(data for result in results if result.data.passport.miniature for data in _data_of(result))


def _data_of(result: Result) -> set[Data]:
    return {(result.task.name, digest) for digest in (result.data.fingerprint, *result.data.passport.lists.values())}


def prepared_by(result: Result) -> str:
    """Return the protocol by whose rules items and segments were cut: its own; if it trains nothing, the one that it names."""
    protocol = result.task.protocol
    return result.environment.get("prepared", protocol) if protocol in UNTRAINED else protocol


def unlike_published(result: Result) -> list[str]:
    """Return the differences between the passport of a result and the published corpus, one phrase for each count; an empty
    list if the task cannot be loaded here, or if its card has no counts."""
    try:
        card = task_of(result).card
    except (CommandError, BrokenPlugin):
        return []
    counts = result.data.passport.counts
    if card.counts and not counts:
        return ["its passport has no counts"]
    return departures(card.counts, counts) + _other_hours(card.sizes, result.data.passport)


def _other_hours(sizes: Mapping[str, Size], passport: Passport) -> list[str]:
    """Return the splits with less than half of the published hours, or more than twice as many."""
    return [
        f"{split}: {duration.hours:g} h in place of {sizes[split].hours:g} h"
        for split, duration in passport.durations.items()
        if split in sizes and not sizes[split].hours / MOST_TIMES <= duration.hours <= sizes[split].hours * MOST_TIMES
    ]


def said_unlike(result: Result) -> str:
    """Return the same differences as one phrase: `KS (test: 96 in place of 3081, and 26 more)`."""
    return f"{result.task.name.upper()} ({first_of(unlike_published(result), between='; ')})"
