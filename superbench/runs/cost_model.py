"""Computes the cost of a run before it starts: how many hours of sound pass through the model.

The inputs are counts only. The features of a frozen model are the same at every step, so sound whose features are stored passes
through the model once. If the disk is too small, the model runs in every step, once for all probes of a sweep. (Frames of dev
and test are stored even then, if they fit; the arithmetic ignores this.) Crops that a recipe redraws at each access cannot be
stored: they pass through the model again for each draw. The reference runs the model in every step of every probe.
"""

from __future__ import annotations

from collections.abc import Mapping

from superbench.contract import SAMPLE_RATE, Recipe
from superbench.contract.sizes import Size, folds_of
from superbench.features.storage_policy import HOUR


def draws(recipe: Recipe, train: Size) -> int:
    """Returns how many training items a run draws: steps × batch × accumulate; half as many if batches are halved for the mean
    utterance length (`halve_above`)."""
    mean = train.hours * HOUR * SAMPLE_RATE / max(train.utterances, 1)
    halved = recipe.halve_above is not None and mean > recipe.halve_above
    return recipe.steps * recipe.accumulate * (recipe.batch // 2 if halved else recipe.batch)


def draw_seconds(train: Size, fresh: bool) -> float:
    """Returns the mean length of a drawn item in seconds; with `fresh`, long utterances count as crops."""
    if not fresh or train.fresh is None:
        return train.hours * HOUR / max(train.utterances, 1)
    uncropped = train.utterances - train.fresh.utterances
    uncropped_seconds = (train.hours - train.fresh.hours) * HOUR / max(uncropped, 1)
    return train.fresh.share * train.fresh.seconds + (1 - train.fresh.share) * uncropped_seconds


def evaluations(recipe: Recipe) -> int:
    """Returns how often dev is evaluated: after every `evaluate_every` updates, and after the last."""
    return -(-recipe.steps // recipe.evaluate_every) if recipe.steps else 0


def fresh_hours(recipe: Recipe, sizes: Mapping[str, Size]) -> float:
    """Returns the hours of crops that are redrawn at each access; each draw passes through the model once for all probes."""
    fresh = [(fold["train"], fold["train"].fresh) for fold in folds_of(sizes)] if recipe.fresh_crops else []
    return sum(draws(recipe, train) * crops.share * crops.seconds / HOUR for train, crops in fresh if crops is not None)


def every_step_hours(recipe: Recipe, sizes: Mapping[str, Size], layers: int, tests: int = 1) -> float:
    """Returns the hours of sound if the model runs in every step: training, dev at each evaluation, test `tests` times.

    A task without training is evaluated layer by layer: dev passes once for each layer, and test `tests` times.
    """
    hours = 0.0
    for fold in folds_of(sizes):
        train = draws(recipe, fold["train"]) * draw_seconds(fold["train"], recipe.fresh_crops) / HOUR
        hours += train + (evaluations(recipe) if recipe.steps else layers) * fold["dev"].hours + tests * fold["test"].hours
    return hours
