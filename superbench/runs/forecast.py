"""Estimates the cost of a run on this machine: sizes from task cards or a corpus, a measured speed, the free disk space.

Only the upstream and the heads are run, on noise; the costs are computed in `runs/cost_model.py`, `runs/costs.py` and
`runs/head_costs.py`.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superbench.contract import SAMPLE_RATE, Audio, Fold, Item, Recipe, Reduction, Split, Task
from superbench.contract.corpora import Corpora
from superbench.contract.sizes import ALL, FreshCrops, Size
from superbench.data.audio import header
from superbench.data.limit import limited
from superbench.errors import CommandError, MissingCorpus
from superbench.features.forward import BATCH_SAMPLES, forward
from superbench.features.storage_policy import HOUR
from superbench.plugins import Loaded
from superbench.runs.costs import CostPlan, Demand, Shape, Shared, plan
from superbench.runs.head_costs import HeadCost, Spread, head_cost, spread
from superbench.runs.options import Options
from superbench.system.progress import Reporter
from superbench.system.ranges import require_whole
from superbench.system.seeding import seeded

SAMPLE_SECONDS = 5
"""Length of each piece of noise on which the speed is measured."""

LEAST_SECONDS = 0.5
"""Shortest duration of a measurement."""

NOT_FORECAST = (
    "decoding sound files",
    "writing and reading the store",
    "loss, optimizer and decoding of the heads",
    "tasks without a head (QbE)",
    "features that the store already contains",
)


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds of work per second of sound, and the conditions of the measurement."""

    seconds_per_second: float
    utterances: int
    sound_seconds: float
    work_seconds: float
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """A cost plan and its inputs. `source`: `official` sizes, or a `corpus`; `absent`: task -> why it is not in the plan.

    `heads`: estimated times of the heads; `spread`: the time of the run on some GPUs.
    """

    upstream: str
    shape: Shape
    protocol: str
    source: str
    store: str
    speed: Speed
    plan: CostPlan
    absent: dict[str, str]
    deviations: list[str]
    heads: tuple[HeadCost, ...]
    spread: Spread
    not_forecast: tuple[str, ...] = NOT_FORECAST

    def plain(self) -> dict[str, Any]:
        """Returns everything as JSON values."""
        return {"schema": 1, **dataclasses.asdict(self)}


def forecast(
    upstream: Loaded,
    tasks: Sequence[Task],
    options: Options,
    store: Path,
    corpora: Corpora | None,
    reporter: Reporter,
    gpus: int = 1,
) -> Forecast:
    """Estimates the cost of `tasks` on `upstream`, for the given corpora, or else for the official ones, on so many `gpus`.

    A task without its corpus, or without official sizes in its card, is `absent`. Raises `CommandError` for `mini` without
    corpora, because its recipes are not made for the official ones, and the errors of reading a damaged corpus.
    """
    _require_sense(options, corpora, gpus)
    demands, absent, lengths = [], dict[str, str](), dict[Shared, dict[Audio, int]]()
    for task in tasks:
        key = (task.card.sound or task.card.name, task.card.reads)
        try:
            recipe = options.recipe(task)
            if corpora is None:
                sizes = _official(task, options.limit)
            else:
                sizes, sounds = counted(task, corpora, upstream.hop, recipe, reporter, options.limit)
                lengths.setdefault(key, {}).update(sounds)
        except MissingCorpus as error:
            absent[task.card.name] = str(error)
        else:
            demands.append(_demand(task, key, recipe, options, sizes))
    speed = measured(upstream, "frames" if any(demand.reads == "frames" for demand in demands) else "mean", options.device)
    shape = Shape(upstream.hop, upstream.layers, upstream.dim)
    together = {key: _size(list(sounds), sounds) for key, sounds in lengths.items()}
    costs = plan(demands, shape, room(store), speed.seconds_per_second, together, options.store_format)
    heads = _heads(tasks, demands, shape, options, reporter)
    return Forecast(
        upstream=upstream.alias, shape=shape, protocol=options.protocol, source="corpus" if corpora else "official",
        store=str(store), speed=speed, plan=costs, absent=absent,
        deviations=options.deviations(*(task.card for task in tasks)), heads=heads,
        spread=spread(costs, heads, speed.seconds_per_second, gpus),
    )  # fmt: skip


def _require_sense(options: Options, corpora: Corpora | None, gpus: int) -> None:
    if options.protocol == "in-context":
        raise CommandError("--protocol in-context extracts no features and trains no heads: there is nothing to plan.")
    if corpora is None and options.protocol == "mini":
        raise CommandError("--protocol mini needs miniature corpora. Give their folder with --data, or use --protocol superb.")
    require_whole("--gpus", gpus, least=1)


def _heads(
    tasks: Sequence[Task], demands: Sequence[Demand], shape: Shape, options: Options, reporter: Reporter
) -> tuple[HeadCost, ...]:
    """Returns the estimated time of the heads of every task that is not absent."""
    by_name, costs = {task.card.name: task for task in tasks}, []
    shape = shape if options.states is None else dataclasses.replace(shape, layers=len(options.states))
    for demand in demands:
        costs.append(head_cost(by_name[demand.task], demand, shape, options.device))
        reporter.advance("heads measured", len(costs), len(demands))
    return tuple(costs)


def _demand(task: Task, key: tuple[str, Reduction], recipe: Recipe, options: Options, sizes: Mapping[str, Size]) -> Demand:
    """Returns the needs of a task. The reference always uses the official recipe, also if ours is that of `superb-once`."""
    official = dataclasses.replace(options, protocol="superb") if options.protocol == "superb-once" else options
    return Demand(
        task=task.card.name,
        sound=key[0],
        reads=key[1],
        recipe=recipe,
        reference=official.recipe(task),
        sizes=sizes,
        probes=len(options.points(recipe)) if recipe.steps else 0,
        checkpoints=task.select.checkpoints,
    )


def _official(task: Task, limit: int | None) -> Mapping[str, Size]:
    if not task.card.sizes:
        raise MissingCorpus(
            f"The card of {task.card.name} does not contain the size of {task.card.corpus}. Give the corpus with --data."
        )
    return {key: _at_most(size, limit) for key, size in task.card.sizes.items()}


def _at_most(size: Size, limit: int | None) -> Size:
    """Returns the size of `limit` utterances of mean length, or the size if it has no more."""
    if limit is None or size.utterances <= limit:
        return size
    part = limit / size.utterances
    fresh = size.fresh and dataclasses.replace(
        size.fresh, utterances=round(part * size.fresh.utterances), hours=part * size.fresh.hours
    )
    return Size(limit, part * size.hours, fresh)


def room(store: Path) -> int:
    """Returns the free bytes on the disk of the store; its folder need not exist yet."""
    existing = next(path for path in (store.absolute(), *store.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


# ---------------------------------------------------------------- the size of a corpus


def counted(
    task: Task, corpora: Corpora, hop: int, recipe: Recipe, reporter: Reporter, limit: int | None = None
) -> tuple[dict[str, Size], dict[Audio, int]]:
    """Returns sizes by split, as prepared for a model of that hop, and the samples at 16 kHz of every different sound."""
    folds = limited(task.read(corpora), limit)
    splits = {key: task.prepare(split, hop, recipe) for key, split in _splits(folds)}
    sounds = _lengths(task, [item.audio for split in splits.values() for item in split.items], reporter)
    sizes = {key: _size([item.audio for item in split.items], sounds) for key, split in splits.items()}
    official = next((size.fresh for size in task.card.sizes.values() if size.fresh), None)
    for key, split in splits.items():
        if split.name == "train" and official is not None:
            fresh = _fresh(split.items, sounds, recipe, official.seconds)
            sizes[key] = dataclasses.replace(sizes[key], fresh=fresh)
    return sizes | {ALL: _size(list(sounds), sounds)}, sounds


def _splits(folds: Sequence[Fold]) -> Iterator[tuple[str, Split]]:
    for fold in folds:
        for split in (fold.train, fold.dev, fold.test):
            yield split.name if len(folds) == 1 else f"{fold.name}/{split.name}", split


def _lengths(task: Task, audios: Sequence[Audio], reporter: Reporter) -> dict[Audio, int]:
    """Returns the samples at 16 kHz of each different piece of sound, from file headers; before trimming, as in extraction."""
    paths = list(dict.fromkeys(audio.path for audio in audios))
    by_file: dict[Path, int] = {}
    with ThreadPoolExecutor(4) as readers:
        for path, (samples, rate) in zip(paths, readers.map(header, paths), strict=True):
            by_file[path] = round(samples * SAMPLE_RATE / rate)
            reporter.advance(f"sizes of {task.card.name}", len(by_file), len(paths))
    ends = {audio: min(audio.end or by_file[audio.path], by_file[audio.path]) for audio in audios}
    return {audio: max(end - audio.start, 1) for audio, end in ends.items()}


def _size(audios: Sequence[Audio], sounds: Mapping[Audio, int]) -> Size:
    return Size(len(audios), sum(sounds[audio] for audio in audios) / SAMPLE_RATE / HOUR)


def _fresh(items: Sequence[Item], sounds: Mapping[Audio, int], recipe: Recipe, seconds: float) -> FreshCrops:
    """Returns the size of the items longer than a crop, and their share of draws. A balanced sampler draws all classes equally
    often, any other all items."""
    long = [item for item in items if sounds[item.audio] > seconds * SAMPLE_RATE]
    hours = _size([item.audio for item in long], sounds).hours
    if recipe.sampler != "balanced":
        return FreshCrops(len(long), hours, len(long) / max(len(items), 1), seconds)
    counts = Counter(str(item.label) for item in items)
    share = sum(1 / counts[str(item.label)] for item in long) / max(len(counts), 1)
    return FreshCrops(len(long), hours, share, seconds)


# ---------------------------------------------------------------- the speed of the upstream


def measured(upstream: Loaded, reduction: Reduction, device: str) -> Speed:
    """Measures the upstream's speed on noise, after a warm-up, in batches as in extraction; one sound at a time if sounds may
    not share a batch.

    The time includes the reduction of the features and their transfer to the CPU. A fast model is called several times.
    """
    import torch

    count = BATCH_SAMPLES[device] // (SAMPLE_SECONDS * SAMPLE_RATE)
    with seeded(5):
        waves = list(torch.randn(count, SAMPLE_SECONDS * SAMPLE_RATE) * 0.1)
    size = 1 if upstream.batching == "none" else count
    batches = [waves[at : at + size] for at in range(0, count, size)]
    noise = Audio(Path("noise"))
    warm = batches[0] if device == "cuda" else waves[:1]  # on a GPU, the first batch of a shape is slower
    forward(upstream, warm, [noise] * len(warm), reduction, device)
    began, rounds, work = time.perf_counter(), 0, 0.0
    while work < LEAST_SECONDS:
        for batch in batches:
            forward(upstream, batch, [noise] * len(batch), reduction, device)
        rounds, work = rounds + 1, time.perf_counter() - began
    sound = float(rounds * count * SAMPLE_SECONDS)
    return Speed(
        seconds_per_second=work / sound,
        utterances=rounds * count,
        sound_seconds=sound,
        work_seconds=work,
        device=device,
        threads=torch.get_num_threads(),
    )
