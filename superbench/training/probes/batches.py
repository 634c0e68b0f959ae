"""The batches of each update. They depend on (seed, update number) alone, so any update can be computed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from superbench.contract import Recipe


@dataclass(frozen=True, slots=True)
class Traits:
    """What samplers use, one value per training item: audio length (samples), target length (tokens), class."""

    samples: Sequence[int]
    tokens: Sequence[int]
    classes: Sequence[str]


class BatchPlan:
    """The batches of a recipe over a training set; `plan(number)` returns the micro-batches (item indices) of an update.

    The order is shuffled per epoch with `seed`. It does not depend on the probe: all probes of a sweep have the same batches.
    """

    def __init__(self, recipe: Recipe, traits: Traits, seed: int = 1337) -> None:
        self.recipe, self.traits, self.seed = recipe, traits, seed
        self._groups = _groups(recipe, traits)
        self._epoch: tuple[int, list[np.ndarray]] = (-1, [])
        self.batches_per_epoch = len(self._order(0))

    def __call__(self, update: int) -> list[np.ndarray]:
        """Return the `accumulate` micro-batches of update number `update` (from 0)."""
        first = update * self.recipe.accumulate
        return [self._batch(first + i) for i in range(self.recipe.accumulate)]

    def _batch(self, number: int) -> np.ndarray:
        epoch, position = divmod(number, self.batches_per_epoch)
        return self._order(epoch)[position]

    def _order(self, epoch: int) -> list[np.ndarray]:
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._draw(np.random.default_rng([self.seed, epoch])))
        return self._epoch[1]

    def _draw(self, random: np.random.Generator) -> list[np.ndarray]:
        if self._groups is not None:
            return [self._groups[i] for i in random.permutation(len(self._groups))]
        count = len(self.traits.samples)
        if self.recipe.sampler == "balanced":
            _, inverse, sizes = np.unique(np.asarray(self.traits.classes), return_inverse=True, return_counts=True)
            weights = 1.0 / sizes[inverse]
            order = random.choice(count, count, p=weights / weights.sum())
        else:
            order = random.permutation(count)
        cut = [order[at : at + self.recipe.batch] for at in range(0, count, self.recipe.batch)]
        return cut[:-1] if self.recipe.drop_last and len(cut) > 1 and len(cut[-1]) < self.recipe.batch else cut


def _groups(recipe: Recipe, traits: Traits) -> list[np.ndarray] | None:
    """Return the batches that contain the same items in every epoch: `windows` and `buckets` (protocol.md 2.1, 2.2)."""
    samples, size = np.asarray(traits.samples), recipe.batch
    if recipe.sampler == "windows":
        order = np.argsort(-np.asarray(traits.tokens), kind="stable")
        last = max(len(order) - size, 0)
        groups = [order[min(i, last) : min(i, last) + size] for i in range(len(order))]
        limit = recipe.halve_above
        return [g[: max(size // 2, 1)] if limit and samples[g[0]] > limit else g for g in groups]
    if recipe.sampler == "buckets":
        order = np.argsort(-samples, kind="stable")
        groups = []
        for at in range(0, len(order), size):
            group = order[at : at + size]
            short = recipe.halve_above is None or samples[group[0]] <= recipe.halve_above or len(group) < size  # as in s3prl
            groups += [group] if short else [group[: size // 2], group[size // 2 :]]
        return [group for group in groups if len(group) > (1 if recipe.drop_last else 0)] or groups
    return None
