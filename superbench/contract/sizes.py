"""How large a corpus is: utterances and hours by split. A task's card states them, `superbench plan` reckons with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FreshCrops:
    """The part of a training split that a recipe with `fresh_crops` cuts anew at every access: `utterances` of it, `hours` long
    in all; they are `share` of the draws, each draw a piece of `seconds`."""

    utterances: int
    hours: float
    share: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Size:
    """How much sound there is. Hours are those of the files, before anything is trimmed."""

    utterances: int
    hours: float
    fresh: FreshCrops | None = None


ALL = "all"
"""The key of the different utterances, where splits or folds overlap."""

NOTHING = Size(0, 0.0)


def folds_of(sizes: Mapping[str, Size]) -> list[dict[str, Size]]:
    """The train, dev and test sizes of each fold; a split that is not named has nothing in it."""
    names = list(dict.fromkeys(key.rpartition("/")[0] for key in sizes if key != ALL))
    return [{s: sizes.get(f"{name}/{s}" if name else s, NOTHING) for s in ("train", "dev", "test")} for name in names]


def different(sizes: Mapping[str, Size]) -> Size:
    """All different utterances: `all` where splits overlap, else their sum."""
    splits = [size for key, size in sizes.items() if key != ALL]
    return sizes.get(ALL) or Size(sum(size.utterances for size in splits), sum(size.hours for size in splits))
