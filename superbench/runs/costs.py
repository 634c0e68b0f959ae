"""Costs by task and by sound, and their totals, in which no sound counts twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from superbench.contract import Recipe, Reduction
from superbench.contract.sizes import Size, different, folds_of
from superbench.features.storage_policy import HOUR, Keep, choose, frame_bytes, mean_bytes
from superbench.runs.cost_model import draws, evaluations, every_step_hours, fresh_hours

Shared = tuple[str, Reduction]
"""A sound and how it is reduced: what tasks must have in common to share stored features."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of an upstream's features: samples per frame, layers, values of each."""

    hop: int
    layers: int
    dim: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What one task asks of a frozen model.

    `sizes` by split (`train`, or `fold1/train`); `recipe` as it will be trained here, `reference` as the reference trains it;
    `probes` is the size of the grid; `checkpoints`: the reference tests the weights of every evaluation.
    """

    task: str
    sound: str
    reads: Reduction
    recipe: Recipe
    reference: Recipe
    sizes: Mapping[str, Size]
    probes: int
    checkpoints: bool = False


@dataclass(frozen=True, slots=True)
class TaskCost:
    """A task's own numbers. Hours are hours of sound through the model.

    `passes`: how often an item of the training split is drawn. `fresh_hours`: pieces cut anew, once for all probes, over and
    above what is stored. `shared_hours`: all of it, if nothing is stored. `reference_hours`: the reference's way, for one probe
    and for all of them.
    """

    task: str
    sound: str
    reads: Reduction
    sizes: dict[str, Size]
    folds: int
    steps: int
    batch: int
    probes: int
    draws: int
    passes: float
    fresh_hours: float
    shared_hours: float
    reference_hours: float
    reference_hours_sweep: float


@dataclass(frozen=True, slots=True)
class SoundCost:
    """The sound that some tasks read in the same way, and share: bytes of each choice, the choice, what passes the model.

    `bytes` on disk and hours through the model (`hours_if`) stand there for each choice; heads on frames cannot be kept as
    means. `utterances` and `hours` are those of the different utterances; `passes` is `model_hours / hours`; `seconds` are
    the upstream's.
    """

    sound: str
    reads: Reduction
    tasks: tuple[str, ...]
    utterances: int
    hours: float
    bytes: dict[Keep, int]
    hours_if: dict[Keep, float]
    keep: Keep
    model_hours: float
    passes: float
    seconds: float


@dataclass(frozen=True, slots=True)
class CostPlan:
    """The whole: no sound counts twice. `bytes` on disk, `room` for them, `seconds` of the upstream's work."""

    tasks: tuple[TaskCost, ...]
    sounds: tuple[SoundCost, ...]
    room: int
    bytes: int
    model_hours: float
    seconds: float
    reference_hours: float
    reference_hours_sweep: float


# ---------------------------------------------------------------- the plan


@dataclass(frozen=True, slots=True)
class Offer:
    """Tasks that share a sound and its reduction, before it is decided how their features are kept.

    `whole`: the different utterances. `bytes` and `hours` through the model stand there for each choice.
    """

    sound: str
    reads: Reduction
    tasks: tuple[str, ...]
    whole: Size
    bytes: dict[Keep, int]
    hours: dict[Keep, float]


def plan(
    demands: Sequence[Demand], shape: Shape, room: int, seconds_per_second: float, together: Mapping[Shared, Size] | None = None
) -> CostPlan:
    """Costs of `demands` on an upstream that works `seconds_per_second` for a second of sound, with `room` bytes on disk.

    `together`: the different utterances of the tasks that share a sound, where known; else those of the task that has most.
    """
    costs = {demand.task: task_cost(demand, shape.layers) for demand in demands}
    groups: dict[Shared, list[Demand]] = {}
    for demand in demands:
        groups.setdefault((demand.sound, demand.reads), []).append(demand)
    offers = [offer(some, [costs[one.task] for one in some], shape, (together or {}).get(key)) for key, some in groups.items()]
    kept = allot(offers, room)
    sounds = tuple(_sound_cost(one, kept[one.sound, one.reads], seconds_per_second) for one in offers)
    return CostPlan(
        tasks=tuple(costs.values()),
        sounds=sounds,
        room=room,
        bytes=sum(one.bytes[one.keep] for one in sounds),
        model_hours=sum(one.model_hours for one in sounds),
        seconds=sum(one.seconds for one in sounds),
        reference_hours=sum(one.reference_hours for one in costs.values()),
        reference_hours_sweep=sum(one.reference_hours_sweep for one in costs.values()),
    )


def allot(offers: Sequence[Offer], room: int) -> dict[Shared, Keep]:
    """How each sound is kept: means first, then the frames that save most hours per byte, as long as they fit."""

    def order(one: Offer) -> tuple[bool, float]:
        return one.reads != "mean", (one.hours["frames"] - one.hours["shared"]) / max(one.bytes["frames"], 1)

    kept: dict[Shared, Keep] = {}
    for one in sorted(offers, key=order):
        keep = choose(one.reads, one.bytes["frames"], room)
        kept[one.sound, one.reads] = keep
        room -= one.bytes[keep]
    return kept


def task_cost(demand: Demand, layers: int) -> TaskCost:
    """A task's own numbers on a model of `layers` layers."""
    recipe, reference, sizes = demand.recipe, demand.reference, demand.sizes
    trains = [fold["train"] for fold in folds_of(sizes)]
    drawn = [draws(recipe, train) for train in trains]
    tests = layers if not reference.steps else evaluations(reference) if demand.checkpoints else 1
    one_probe = every_step_hours(reference, sizes, layers, tests)
    return TaskCost(
        task=demand.task,
        sound=demand.sound,
        reads=demand.reads,
        sizes=dict(sizes),
        folds=len(trains),
        steps=recipe.steps,
        batch=max(drawn) // recipe.steps if recipe.steps else 0,
        probes=demand.probes,
        draws=sum(drawn),
        passes=sum(drawn) / max(sum(train.utterances for train in trains), 1),
        fresh_hours=fresh_hours(recipe, sizes),
        shared_hours=every_step_hours(recipe, sizes, layers),
        reference_hours=one_probe,
        reference_hours_sweep=one_probe * max(demand.probes, 1),
    )


def offer(demands: Sequence[Demand], costs: Sequence[TaskCost], shape: Shape, together: Size | None) -> Offer:
    """What tasks that share a sound need, whichever way it is kept. What all of them cut anew is not stored."""
    whole = together or max((different(one.sizes) for one in demands), key=lambda size: size.hours)
    cuts = [_cut(one) for one in demands]
    utterances = whole.utterances - min(cut.utterances for cut in cuts)
    hours = whole.hours - min(cut.hours for cut in cuts)
    disk: dict[Keep, int] = {
        "mean": mean_bytes(utterances, shape.layers, shape.dim),
        "frames": frame_bytes(hours, utterances, shape.hop, shape.layers, shape.dim),
        "shared": 0,
    }
    if demands[0].reads == "frames":
        del disk["mean"]
    stored, shared = hours + sum(one.fresh_hours for one in costs), sum(one.shared_hours for one in costs)
    return Offer(
        sound=demands[0].sound,
        reads=demands[0].reads,
        tasks=tuple(one.task for one in demands),
        whole=whole,
        bytes=disk,
        hours={keep: shared if keep == "shared" else stored for keep in disk},
    )


def _cut(demand: Demand) -> Size:
    """Utterances that the recipe cuts anew."""
    fresh = [fold["train"].fresh for fold in folds_of(demand.sizes)] if demand.recipe.fresh_crops else []
    cuts = [one for one in fresh if one is not None]
    return Size(sum(one.utterances for one in cuts), sum(one.hours for one in cuts))


def _sound_cost(one: Offer, keep: Keep, seconds_per_second: float) -> SoundCost:
    hours = one.hours[keep]
    return SoundCost(
        sound=one.sound,
        reads=one.reads,
        tasks=one.tasks,
        utterances=one.whole.utterances,
        hours=one.whole.hours,
        bytes=one.bytes,
        hours_if=one.hours,
        keep=keep,
        model_hours=hours,
        passes=hours / max(one.whole.hours, 1e-12),
        seconds=hours * HOUR * seconds_per_second,
    )
