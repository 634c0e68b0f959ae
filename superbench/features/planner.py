"""What a run costs before anything runs: bytes on disk, passes over the sound, hours of it through the model.

Arithmetic on counts alone. A frozen model gives the same features at every step, so what is stored passes once: heads on means
keep one float32 vector per layer and utterance, heads on frames keep float16 frames where the disk has room for them. Where it
has not, the model runs in every step, for all probes of a sweep at once (frames of dev and test are stored even then, where
they fit, which the arithmetic leaves out). Sound that a recipe cuts anew at every access cannot be stored, but only that part
of it passes again. The reference runs the model in every step of every probe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from superbench.contract import SAMPLE_RATE, Recipe, Reduction
from superbench.sizes import Size, folds_of

Keep = Literal["mean", "frames", "shared"]
"""What is stored of an utterance: one mean per layer, all frames, or nothing; then all probes of a sweep share each pass."""
KEEPS: tuple[Keep, ...] = ("mean", "frames", "shared")
MEAN_BYTES, FRAME_BYTES = 4, 2
HOUR = 3600.0


# ---------------------------------------------------------------- disk


def choose(reads: Reduction, bytes_on_disk: int, room: int) -> Keep:
    """How features are kept: means always; frames if all of them fit into the room.

    >>> choose("mean", 10, 0), choose("frames", 10, 10), choose("frames", 11, 10)
    ('mean', 'frames', 'shared')
    """
    if reads == "mean":
        return "mean"
    return "frames" if bytes_on_disk <= room else "shared"


def mean_bytes(utterances: int, layers: int, dim: int) -> int:
    """A float32 vector per layer and utterance.

    >>> round(mean_bytes(138_361 + 6_904 + 8_251, 13, 768) / 1e9, 2)  # VoxCeleb1 through HuBERT base, GB
    6.13
    """
    return utterances * layers * dim * MEAN_BYTES


def frame_bytes(hours: float, utterances: int, hop: int, layers: int, dim: int) -> int:
    """Float16 frames, one in `hop` samples and at least one per utterance; exact to half a frame per utterance.

    >>> round(frame_bytes(100.6 + 5.4 + 5.4, 33_862, 320, 13, 768) / 1e9, 1)  # LibriSpeech through HuBERT base, GB
    400.4
    """
    frames = max(round(hours * HOUR * SAMPLE_RATE / hop), utterances)
    return frames * layers * dim * FRAME_BYTES


# ---------------------------------------------------------------- sound


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
