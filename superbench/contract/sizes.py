"""The size of a corpus: utterances and hours by split. A task card states them; `superbench plan` estimates costs from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FreshCrops:
    """The part of a training split from which a recipe with `fresh_crops` redraws crops at each access: `utterances` with
    `hours` of sound in all. They are `share` of the draws; each draw is a crop of `seconds`."""

    utterances: int
    hours: float
    share: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Size:
    """The amount of sound. Hours are those of the files, before trimming."""

    utterances: int
    hours: float
    fresh: FreshCrops | None = None


ALL = "all"
"""The key for the number of distinct utterances, if splits or folds overlap."""

NOTHING = Size(0, 0.0)


def folds_of(sizes: Mapping[str, Size]) -> list[dict[str, Size]]:
    """Returns the train, dev and test sizes of each fold; a split that is not named is empty."""
    names = list(dict.fromkeys(key.rpartition("/")[0] for key in sizes if key != ALL))
    return [
        {split: sizes.get(f"{name}/{split}" if name else split, NOTHING) for split in ("train", "dev", "test")}
        for name in names
    ]


def different(sizes: Mapping[str, Size]) -> Size:
    """Returns the size of all distinct utterances: `all` if splits overlap, else the sum over splits."""
    splits = [size for key, size in sizes.items() if key != ALL]
    return sizes.get(ALL) or Size(sum(size.utterances for size in splits), sum(size.hours for size in splits))
