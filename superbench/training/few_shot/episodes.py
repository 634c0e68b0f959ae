"""Draws of the examples: seeded, nested, the same for every model."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from superbench.contract import Episode, Shots

SEED = 1337


def episodes(shots: Sequence[Shots], draws: int) -> list[Episode]:
    """Returns the episodes of a run, by K: `draws` for each number of examples; one for 0 and `all`, which leave no choice.

    >>> [(episode.shots, episode.draw) for episode in episodes([1, "all"], 2)]
    [(1, 0), (1, 1), ('all', 0)]
    """
    return [Episode(k, draw) for k in shots for draw in range(1 if k in (0, "all") else draws)]


def draw_order(count: int, draw: int, *words: str) -> np.ndarray:
    """Returns a random order of `count` things; the draw and the words (fold, purpose) seed it."""
    seed = [SEED, draw, *(zlib.crc32(word.encode()) for word in words)]
    return np.random.default_rng(seed).permutation(count)


def draw_examples(classes: np.ndarray, episode: Episode, *words: str) -> np.ndarray:
    """Returns the positions of an episode's examples, by class: K of each class, or as many as it has.

    `classes` (item,): the number of each item's class. Items of a class are taken in the random order of the draw, so a smaller
    K takes some of those that a larger K takes.

    >>> draw_examples(np.array([0, 1, 0, 1, 1]), Episode("all", 0)).tolist()
    [0, 2, 1, 3, 4]
    """
    return examples_of(classes, [episode], *words)[0]


def examples_of(classes: np.ndarray, every: Sequence[Episode], *words: str) -> list[np.ndarray]:
    """Returns the same for several episodes; the order of each draw is computed once for all of its K."""
    ranked: dict[int | None, tuple[np.ndarray, np.ndarray]] = {}
    taken = []
    for episode in every:
        draw = None if episode.shots == "all" else episode.draw
        if draw not in ranked:
            ranked[draw] = _ranked(classes, draw, words)
        order, rank = ranked[draw]
        taken.append(order if episode.shots == "all" else order[rank < episode.shots])
    return taken


def _ranked(classes: np.ndarray, draw: int | None, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions by class, in a class in the order of the draw (None: as they are), and their rank in the class."""
    order = np.arange(len(classes)) if draw is None else draw_order(len(classes), draw, *words)
    order = order[np.argsort(classes[order], kind="stable")]
    in_order = classes[order]
    return order, np.arange(len(order)) - np.searchsorted(in_order, in_order)
