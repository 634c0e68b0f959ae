"""How much work it is to score a bundle: known from what is in it, before anything is scored.

Scorers compare texts by their characters (edit distances, regular expressions), and draw groups anew for every interval. The
bounds are estimates, a good deal above what an official run of all ten tasks has.
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
"""Groups of one item; SUPERB's have at most two (the speakers of a trial or a mixture)."""
GROUPS = 200_000
"""Different groups of a bundle; those of all ten tasks are its test speakers, sessions, queries and documents."""
CHARACTERS = 100_000_000
"""Of all predictions and references."""
AREA = 100_000_000_000
"""Sum of the squares of the characters of each item: 2 600 utterances of 600 characters, as in PR, come to 1e9."""
LEAST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Work:
    """Items, different groups, characters, and the sum of their squares by item."""

    items: int
    groups: int
    characters: int
    area: int

    @property
    def seconds(self) -> float:
        """Of computing that scoring it may take, generously."""
        return LEAST_SECONDS + self.items / 10_000 + self.groups / 2_000 + self.characters / 200_000 + self.area / 1e9


def work_of(bundle: Bundle) -> Work:
    """Count; raises `Refusal` for more than is scored."""
    items = characters = area = 0
    groups: set[str] = set()
    for one in chain.from_iterable(entry.predictions for entry in bundle.entries.values()):
        if len(one.group) > GROUPS_OF_ONE:
            raise Refusal(f"{one.id:.100} has {len(one.group)} groups; an item has at most {GROUPS_OF_ONE}", "work")
        groups.update(one.group)
        size = _size(one)
        items, characters, area = items + 1, characters + size, area + size * size
    found = Work(items, len(groups), characters, area)
    for what, count, most in (
        ("groups", found.groups, GROUPS),
        ("characters", found.characters, CHARACTERS),
        ("characters, squared by item,", found.area, AREA),
    ):
        if count > most:
            raise Refusal(f"its predictions have {count:.2g} {what}; at most {most:.2g} are scored", "work")
    return found


def _size(one: Prediction) -> int:
    return _characters([one.reference, one.prediction, *one.also.values()])


def _characters(values: Iterable[Any]) -> int:
    """Characters of texts, entries of lists; numbers are one each."""
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
