"""What a run costs before anything runs: passes over the sound, hours of it through the model.

Arithmetic on counts alone. A frozen model gives the same features at every step, so what is stored passes once. Where the disk
has no room, the model runs in every step, for all probes of a sweep at once (frames of dev and test are stored even then, where
they fit, which the arithmetic leaves out). Sound that a recipe redraws at every access cannot be stored, but only that part of
it passes again. The reference runs the model in every step of every probe.
"""

from __future__ import annotations

from collections.abc import Mapping

from superbench.contract import SAMPLE_RATE, Recipe
from superbench.contract.sizes import Size, folds_of
from superbench.features.storage_policy import HOUR


def draws(recipe: Recipe, train: Size) -> int:
    """How many training items a run asks for: steps × batch × accumulate; half where the mean utterance halves a batch."""
    mean = train.hours * HOUR * SAMPLE_RATE / max(train.utterances, 1)
    halved = recipe.halve_above is not None and mean > recipe.halve_above
    return recipe.steps * recipe.accumulate * (recipe.batch // 2 if halved else recipe.batch)


def draw_seconds(train: Size, fresh: bool) -> float:
    """Mean length of what is drawn: of whole utterances, or with pieces in place of those that are cut anew."""
    if not fresh or train.fresh is None:
        return train.hours * HOUR / max(train.utterances, 1)
    whole = train.utterances - train.fresh.utterances
    rest = (train.hours - train.fresh.hours) * HOUR / max(whole, 1)
    return train.fresh.share * train.fresh.seconds + (1 - train.fresh.share) * rest


def evaluations(recipe: Recipe) -> int:
    """How often dev is judged: after every `evaluate_every` updates, and after the last."""
    return -(-recipe.steps // recipe.evaluate_every) if recipe.steps else 0


def fresh_hours(recipe: Recipe, sizes: Mapping[str, Size]) -> float:
    """Pieces that are cut anew for every draw of them; they pass once for all probes."""
    fresh = [(fold["train"], fold["train"].fresh) for fold in folds_of(sizes)] if recipe.fresh_crops else []
    return sum(draws(recipe, train) * cut.share * cut.seconds / HOUR for train, cut in fresh if cut is not None)


def every_step_hours(recipe: Recipe, sizes: Mapping[str, Size], layers: int, tests: int = 1) -> float:
    """Hours of sound if the model runs in every step: training, dev at each evaluation, test `tests` times.

    A task that trains nothing is judged layer by layer: dev passes for each of them, and test `tests` times.
    """
    hours = 0.0
    for fold in folds_of(sizes):
        train = draws(recipe, fold["train"]) * draw_seconds(fold["train"], recipe.fresh_crops) / HOUR
        hours += train + (evaluations(recipe) if recipe.steps else layers) * fold["dev"].hours + tests * fold["test"].hours
    return hours
