"""Computes costs by task and by sound, and their totals; sound that several tasks share counts once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from superbench.contract import Recipe, Reduction
from superbench.contract.sizes import Size, different, folds_of
from superbench.features.quantized import STORE_FORMATS, StoreFormat
from superbench.features.storage_policy import HOUR, Keep, choose, frame_bytes, mean_bytes
from superbench.runs.cost_model import draws, evaluations, every_step_hours, fresh_hours

Shared = tuple[str, Reduction]
"""The name of a sound and its reduction. Tasks with the same pair share stored features."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of an upstream's features: samples per frame, layers, values of each."""

    hop: int
    layers: int
    dim: int


@dataclass(frozen=True, slots=True)
class Demand:
    """The sound that one task needs from a frozen model.

    `sizes` by split (`train`, or `fold1/train`); `recipe`: the recipe of this run; `reference`: the recipe of the reference
    implementation; `probes`: size of the grid; `checkpoints`: whether the reference tests the weights of every evaluation.
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
    """The cost of one task. Hours are hours of sound through the model.

    `passes`: how often an item of the training split is drawn on average. `fresh_hours`: crops that are redrawn at each access,
    in addition to the stored sound. `shared_hours`: all sound, if nothing is stored. `reference_hours`, and
    `reference_hours_sweep`: the same for the reference implementation, for one probe and for all probes.
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
    """The cost of a sound that several tasks share, because they read it with the same reduction.

    `bytes` on disk and `hours_if` (hours through the model) have a value for each way to store features; heads on frames have
    none for means. `keep` is the chosen way. `utterances` and `hours` count different utterances; `passes` is `model_hours /
    hours`; `seconds`: working time of the upstream. `formats`: bytes of all frames by format of the store; empty for means.
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
    formats: dict[StoreFormat, int]


@dataclass(frozen=True, slots=True)
class CostPlan:
    """The costs of all tasks; shared sound counts once. `room`: free bytes on disk; `bytes`: bytes to be used; `seconds`:
    working time of the upstream."""

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
    """Tasks that share a sound and its reduction, before a way to store their features is chosen.

    `distinct`: size of the different utterances. `bytes` on disk and `hours` through the model have a value for each way.
    """

    sound: str
    reads: Reduction
    tasks: tuple[str, ...]
    distinct: Size
    bytes: dict[Keep, int]
    hours: dict[Keep, float]
    formats: dict[StoreFormat, int]


def plan(
    demands: Sequence[Demand],
    shape: Shape,
    room: int,
    seconds_per_second: float,
    together: Mapping[Shared, Size] | None = None,
    store_format: StoreFormat = "float16",
) -> CostPlan:
    """Returns the costs of `demands` on an upstream that needs `seconds_per_second` for a second of sound.

    `room`: free bytes on disk. `together`: size of the different utterances of tasks that share a sound, if known; otherwise
    that of the largest task.
    """
    costs = {demand.task: task_cost(demand, shape.layers) for demand in demands}
    groups: dict[Shared, list[Demand]] = {}
    for demand in demands:
        groups.setdefault((demand.sound, demand.reads), []).append(demand)
    offers = [
        offer(group, [costs[demand.task] for demand in group], shape, (together or {}).get(key), store_format)
        for key, group in groups.items()
    ]
    kept = allot(offers, room)
    sounds = tuple(_sound_cost(shared, kept[shared.sound, shared.reads], seconds_per_second) for shared in offers)
    return CostPlan(
        tasks=tuple(costs.values()),
        sounds=sounds,
        room=room,
        bytes=sum(sound.bytes[sound.keep] for sound in sounds),
        model_hours=sum(sound.model_hours for sound in sounds),
        seconds=sum(sound.seconds for sound in sounds),
        reference_hours=sum(cost.reference_hours for cost in costs.values()),
        reference_hours_sweep=sum(cost.reference_hours_sweep for cost in costs.values()),
    )


def allot(offers: Sequence[Offer], room: int) -> dict[Shared, Keep]:
    """Chooses how the features of each sound are stored: means first, then the frames that save most hours per byte, as long as
    they fit."""

    def order(shared: Offer) -> tuple[bool, float]:
        return shared.reads != "mean", (shared.hours["frames"] - shared.hours["shared"]) / max(shared.bytes["frames"], 1)

    kept: dict[Shared, Keep] = {}
    for shared in sorted(offers, key=order):
        keep = choose(shared.reads, shared.bytes["frames"], room)
        kept[shared.sound, shared.reads] = keep
        room -= shared.bytes[keep]
    return kept


def task_cost(demand: Demand, layers: int) -> TaskCost:
    """Returns the cost of one task on a model of `layers` layers."""
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


def offer(
    demands: Sequence[Demand],
    costs: Sequence[TaskCost],
    shape: Shape,
    together: Size | None,
    store_format: StoreFormat = "float16",
) -> Offer:
    """Returns the costs of a shared sound for each way to store it. Utterances that all tasks redraw are not stored."""
    distinct = together or max((different(demand.sizes) for demand in demands), key=lambda size: size.hours)
    cropped = [_cropped(demand) for demand in demands]
    utterances = distinct.utterances - min(size.utterances for size in cropped)
    hours = distinct.hours - min(size.hours for size in cropped)
    formats = {name: frame_bytes(hours, utterances, shape.hop, shape.layers, shape.dim, name) for name in STORE_FORMATS}
    disk: dict[Keep, int] = {
        "mean": mean_bytes(utterances, shape.layers, shape.dim),
        "frames": formats[store_format],
        "shared": 0,
    }
    if demands[0].reads == "frames":
        del disk["mean"]
    else:
        formats.clear()
    stored, shared = hours + sum(cost.fresh_hours for cost in costs), sum(cost.shared_hours for cost in costs)
    return Offer(
        sound=demands[0].sound,
        reads=demands[0].reads,
        tasks=tuple(demand.task for demand in demands),
        distinct=distinct,
        bytes=disk,
        hours={keep: shared if keep == "shared" else stored for keep in disk},
        formats=formats,
    )


def _cropped(demand: Demand) -> Size:
    """Returns the size of the utterances whose crops the recipe redraws at each access."""
    fresh = [fold["train"].fresh for fold in folds_of(demand.sizes)] if demand.recipe.fresh_crops else []
    crops = [crop for crop in fresh if crop is not None]
    return Size(sum(crop.utterances for crop in crops), sum(crop.hours for crop in crops))


def _sound_cost(shared: Offer, keep: Keep, seconds_per_second: float) -> SoundCost:
    hours = shared.hours[keep]
    return SoundCost(
        sound=shared.sound,
        reads=shared.reads,
        tasks=shared.tasks,
        utterances=shared.distinct.utterances,
        hours=shared.distinct.hours,
        bytes=shared.bytes,
        hours_if=shared.hours,
        keep=keep,
        model_hours=hours,
        passes=hours / max(shared.distinct.hours, 1e-12),
        seconds=hours * HOUR * seconds_per_second,
        formats=shared.formats,
    )
