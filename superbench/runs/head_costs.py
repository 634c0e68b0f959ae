"""Estimates the time of the heads: measured passes of each head on noise, times the items that its recipe draws.

Measured: forward and backward pass of one probe (weighted sum of the layers, and the head) on a small batch of noise.
Estimated: everything else. The time grows linearly with the number of frames, updates and probes; evaluation takes a third of a
training pass. Loss, decoding, the optimizer and reading of features are not counted, and work that the probes of a sweep share
is counted for each of them.
"""

from __future__ import annotations

import heapq
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from superbench.contract import SAMPLE_RATE, Fold, Recipe, Split, Task
from superbench.contract.sizes import folds_of
from superbench.features.storage_policy import HOUR
from superbench.runs.cost_model import draw_seconds, draws, evaluations
from superbench.runs.costs import CostPlan, Demand, Shape
from superbench.system.seeding import seeded

ITEMS, FRAMES = 4, 16
"""Utterances of noise, and frames of each, for the head of a task that reads frames, on a CPU; on a GPU, a complete batch."""
LEAST_SECONDS = 0.1
"""Shortest duration of a measurement; a fast head is called several times."""
EVALUATION = 1 / 3
"""Time of a forward pass, relative to forward and backward."""


@dataclass(frozen=True, slots=True)
class HeadCost:
    """The time of one task's heads. `pass_seconds`: measured, for `pass_items` (utterances, or frames) of noise and one probe;
    `items`: how many of them all probes pass in training, and in evaluation divided by three. `seconds`: the product; None,
    with the reason, if it was not measured."""

    task: str
    seconds: float | None
    pass_seconds: float = 0.0
    pass_items: int = 0
    items: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """How a run divides among `workers`, each on a GPU of its own and as fast as this device.

    `extract_seconds`: the features to be stored; they divide evenly, because every worker computes shards. `job_seconds`: until
    the last job ends; one worker does a job, and also passes its sound that is not stored through the model. `seconds`: the
    sum. `unknown`: tasks whose heads are not in it.
    """

    workers: int
    extract_seconds: float
    job_seconds: float
    seconds: float
    unknown: tuple[str, ...]


def head_cost(task: Task, demand: Demand, shape: Shape, device: str) -> HeadCost:
    """Measures a task's head on noise, and returns the estimated time of all its probes."""
    if task.head is None or not demand.recipe.steps:
        return HeadCost(task.card.name, None, reason="it trains no head")
    try:
        seconds, passed = _measured(task, demand, shape, device)
    except Exception as error:  # a plugin's head may need the items of its fold
        return HeadCost(task.card.name, None, reason=f"its head cannot be measured on noise ({type(error).__name__})")
    items = demand.probes * _items(demand, shape)
    total = items * seconds / passed
    return HeadCost(task=task.card.name, seconds=total, pass_seconds=seconds, pass_items=passed, items=items)


def _items(demand: Demand, shape: Shape) -> float:
    """Returns the items that one probe passes: utterances for heads on means, else frames."""
    total = 0.0
    for fold in folds_of(demand.sizes):
        train, recipe = fold["train"], demand.recipe
        rate = SAMPLE_RATE / shape.hop
        evaluated = [(fold["dev"], evaluations(recipe)), (fold["test"], evaluations(recipe) if demand.checkpoints else 1)]
        if demand.reads == "mean":
            total += draws(recipe, train) + EVALUATION * sum(size.utterances * times for size, times in evaluated)
        else:
            total += draws(recipe, train) * draw_seconds(train, recipe.fresh_crops) * rate
            total += EVALUATION * sum(size.hours * HOUR * rate * times for size, times in evaluated)
    return total


def _measured(task: Task, demand: Demand, shape: Shape, device: str) -> tuple[float, int]:
    """Returns the seconds of a forward and backward pass of one probe, and the number of utterances or frames in it."""
    import torch

    from superbench.training.probes.probe import Probe

    batch, frames = _batch(demand, shape, device)
    nothing = Fold("all", Split("train", ()), Split("dev", ()), Split("test", ()))
    with seeded(5), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers for no class at all: the labels of the fold
        assert task.head is not None
        probe = Probe(task.head(shape.dim, nothing, demand.recipe), shape.layers).to(device).train()
        parts = (batch, shape.layers, shape.dim) if frames is None else (batch, frames, shape.layers, shape.dim)
        features = torch.randn(parts, device=device)
    lengths = torch.full((batch,), frames or 1, device=device)

    def update() -> None:
        probe(features, lengths).float().square().mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    rounds, work = 1, _seconds(update)  # the first call is slower, so it counts only if it is long
    if work < LEAST_SECONDS or device == "cuda":
        rounds, work = 0, 0.0
    while work < LEAST_SECONDS:
        rounds, work = rounds + 1, work + _seconds(update)
    return work / rounds, batch * (frames or 1)


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _batch(demand: Demand, shape: Shape, device: str) -> tuple[int, int | None]:
    """Returns the utterances of the measured batch, and their frames (None: means)."""
    recipe: Recipe = demand.recipe
    if demand.reads == "mean":
        return recipe.batch, None
    if device == "cpu":
        return min(ITEMS, recipe.batch), FRAMES
    train = folds_of(demand.sizes)[0]["train"]
    return recipe.batch, max(round(draw_seconds(train, recipe.fresh_crops) * SAMPLE_RATE / shape.hop), 16)


def spread(costs: CostPlan, heads: Sequence[HeadCost], seconds_per_second: float, workers: int) -> Spread:
    """Returns how long the run takes if extraction and jobs are divided among `workers`; the longest jobs start first."""
    known: Mapping[str, float] = {head.task: head.seconds for head in heads if head.seconds is not None}
    tasks = {cost.task: cost for cost in costs.tasks}
    stored, jobs = 0.0, []
    for sound in costs.sounds:
        own = {name: tasks[name].shared_hours if sound.keep == "shared" else tasks[name].fresh_hours for name in sound.tasks}
        stored += max(sound.model_hours - sum(own.values()), 0.0)
        jobs += [known.get(name, 0.0) + hours * HOUR * seconds_per_second for name, hours in own.items()]
    ends = [0.0] * workers
    for seconds in sorted(jobs, reverse=True):
        heapq.heappush(ends, heapq.heappop(ends) + seconds)
    extract = stored * HOUR * seconds_per_second / workers
    unknown = tuple(head.task for head in heads if head.seconds is None)
    return Spread(workers=workers, extract_seconds=extract, job_seconds=max(ends), seconds=extract + max(ends), unknown=unknown)
