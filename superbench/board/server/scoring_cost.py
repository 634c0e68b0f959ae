"""Estimates the cost of scoring a bundle from its contents, before anything is scored.

Scorers compare texts by characters (edit distances, regular expressions), and resample groups for every interval. The limits
are estimates, well above the cost of an official run of all ten tasks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from superbench.board.bundles.bundle import Bundle
from superbench.contract import Prediction
from superbench.errors import Refusal

GROUPS_OF_ONE = 16
"""Most groups of one item; the items of SUPERB have at most two (the speakers of a trial or a mixture)."""
GROUPS = 200_000
"""Most different groups of a bundle: the test speakers, sessions, queries and documents of all its tasks."""
CHARACTERS = 100_000_000
"""Most characters of all predictions and references together."""
AREA = 100_000_000_000
"""Largest sum, over items, of the squared number of characters: 2 600 utterances of 600 characters, as in PR, give 1e9."""
LEAST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Work:
    """The size of a bundle: items, different groups, characters, and the sum of squared characters over items (`area`)."""

    items: int
    groups: int
    characters: int
    area: int

    @property
    def seconds(self) -> float:
        """Upper estimate of the computing time for scoring, in seconds."""
        return LEAST_SECONDS + self.items / 10_000 + self.groups / 2_000 + self.characters / 200_000 + self.area / 1e9


def work_of(bundle: Bundle) -> Work:
    """Counts the work of scoring a bundle; raises `Refusal` if it is beyond the limits."""
    items = characters = area = 0
    groups: set[str] = set()
    for prediction in chain.from_iterable(entry.predictions for entry in bundle.entries.values()):
        if len(prediction.group) > GROUPS_OF_ONE:
            raise Refusal(
                f"{prediction.id:.100} has {len(prediction.group)} groups; an item has at most {GROUPS_OF_ONE}", "work"
            )
        groups.update(prediction.group)
        size = _size(prediction)
        items, characters, area = items + 1, characters + size, area + size * size
    work = Work(items, len(groups), characters, area)
    for what, count, most in (
        ("groups", work.groups, GROUPS),
        ("characters", work.characters, CHARACTERS),
        ("characters, squared by item,", work.area, AREA),
    ):
        if count > most:
            raise Refusal(f"its predictions have {count:.2g} {what}; at most {most:.2g} are scored", "work")
    return work


def _size(prediction: Prediction) -> int:
    return _characters([prediction.reference, prediction.prediction, *prediction.also.values()])


def _characters(values: Iterable[Any]) -> int:
    """Counts the characters of texts and the entries of objects; every other value counts as one."""
    size = 0
    for value in values:
        if isinstance(value, str):
            size += len(value)
        elif isinstance(value, dict):
            size += len(value) + _characters(value.values())
        elif isinstance(value, list):
            size += _characters(value)
        else:
            size += 1
    return size
