"""What a run would cost here: sizes from the cards or from a corpus, a measured speed, the room on the store's disk.

Nothing is run but the upstream, on a minute of noise; the arithmetic is `runs/cost_model.py` and `runs/costs.py`.
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
from superbench.errors import CommandError, MissingCorpus
from superbench.features.forward import BATCH_SAMPLES, forward
from superbench.features.storage_policy import HOUR
from superbench.plugins import Loaded
from superbench.runs.costs import CostPlan, Demand, Shape, Shared, plan
from superbench.runs.options import Options
from superbench.system.progress import Reporter
from superbench.system.seeding import seeded

SAMPLE_SECONDS = 5
"""Length of each piece of noise that the speed is measured on."""

LEAST_SECONDS = 0.5
"""A measurement takes no less."""

NOT_FORECAST = (
    "training and testing the heads",
    "decoding sound files",
    "writing and reading the store",
    "what the store holds already",
)


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds of work per second of sound, and how it was measured."""

    seconds_per_second: float
    utterances: int
    sound_seconds: float
    work_seconds: float
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """A plan and what it rests on. `source`: `official` sizes, or a `corpus`; `absent`: task -> why it is not in the plan."""

    upstream: str
    shape: Shape
    protocol: str
    source: str
    store: str
    speed: Speed
    plan: CostPlan
    absent: dict[str, str]
    deviations: list[str]
    not_forecast: tuple[str, ...] = NOT_FORECAST

    def plain(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {"schema": 1, **dataclasses.asdict(self)}


def forecast(
    upstream: Loaded, tasks: Sequence[Task], options: Options, store: Path, corpora: Corpora | None, reporter: Reporter
) -> Forecast:
    """What `tasks` would cost on `upstream`: on the corpora, or, without them, on the official ones.

    A task without its corpus, or without official sizes in its card, is `absent`. Raises what reading a damaged corpus raises,
    and `CommandError` for `mini` without corpora: the official ones are not what its recipes are made for.
    """
    if corpora is None and options.protocol == "mini":
        raise CommandError("--protocol mini is for miniature corpora. Give their folder with --data, or plan for superb.")
    demands, absent = [], {}
    heard: dict[Shared, dict[Audio, int]] = {}
    for task in tasks:
        key = (task.card.sound or task.card.name, task.card.reads)
        try:
            recipe = options.recipe(task)
            if corpora is None:
                sizes = _official(task)
            else:
                sizes, sounds = counted(task, corpora, upstream.hop, recipe, reporter)
                heard.setdefault(key, {}).update(sounds)
        except MissingCorpus as error:
            absent[task.card.name] = str(error)
            continue
        demands.append(_demand(task, key, recipe, options, sizes))
    speed = measured(upstream, "frames" if any(one.reads == "frames" for one in demands) else "mean", options.device)
    shape = Shape(upstream.hop, upstream.layers, upstream.dim)
    together = {key: _size(list(sounds), sounds) for key, sounds in heard.items()}
    found = plan(demands, shape, room(store), speed.seconds_per_second, together)
    return Forecast(
        upstream=upstream.alias, shape=shape, protocol=options.protocol, source="corpus" if corpora else "official",
        store=str(store), speed=speed, plan=found, absent=absent,
        deviations=options.deviations(*(task.card for task in tasks)),
    )  # fmt: skip


def _demand(task: Task, key: tuple[str, Reduction], recipe: Recipe, options: Options, sizes: Mapping[str, Size]) -> Demand:
    """The reference trains by the official recipe also where ours departs from it for the sake of a single pass."""
    twin = dataclasses.replace(options, protocol="superb") if options.protocol == "superb-once" else options
    return Demand(
        task=task.card.name,
        sound=key[0],
        reads=key[1],
        recipe=recipe,
        reference=twin.recipe(task),
        sizes=sizes,
        probes=len(options.points(recipe)) if recipe.steps else 0,
        checkpoints=task.select.checkpoints,
    )


def _official(task: Task) -> Mapping[str, Size]:
    if not task.card.sizes:
        raise MissingCorpus(
            f"The card of {task.card.name} does not say how large {task.card.corpus} is. Give the corpus with --data."
        )
    return task.card.sizes


def room(store: Path) -> int:
    """Free bytes on the disk of the store, which need not be there yet."""
    there = next(path for path in (store.absolute(), *store.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


# ---------------------------------------------------------------- a corpus that is there


def counted(
    task: Task, corpora: Corpora, hop: int, recipe: Recipe, reporter: Reporter
) -> tuple[dict[str, Size], dict[Audio, int]]:
    """Sizes by split as they are prepared for a model of that hop, and every different sound with its samples at 16 kHz."""
    folds = task.read(corpora)
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
    """Samples at 16 kHz of each different piece, from the headers; before trimming, as extraction counts."""
    paths = list(dict.fromkeys(audio.path for audio in audios))
    whole: dict[Path, int] = {}
    with ThreadPoolExecutor(4) as readers:
        for path, (samples, rate) in zip(paths, readers.map(header, paths), strict=True):
            whole[path] = round(samples * SAMPLE_RATE / rate)
            reporter.advance(f"sizes of {task.card.name}", len(whole), len(paths))
    ends = {audio: min(audio.end or whole[audio.path], whole[audio.path]) for audio in audios}
    return {audio: max(end - audio.start, 1) for audio, end in ends.items()}


def _size(audios: Sequence[Audio], sounds: Mapping[Audio, int]) -> Size:
    return Size(len(audios), sum(sounds[audio] for audio in audios) / SAMPLE_RATE / HOUR)


def _fresh(items: Sequence[Item], sounds: Mapping[Audio, int], recipe: Recipe, seconds: float) -> FreshCrops:
    """The items that are longer than a crop; classes share the draws equally where the sampler says so, else items do."""
    long = [item for item in items if sounds[item.audio] > seconds * SAMPLE_RATE]
    hours = _size([item.audio for item in long], sounds).hours
    if recipe.sampler != "balanced":
        return FreshCrops(len(long), hours, len(long) / max(len(items), 1), seconds)
    counts = Counter(str(item.label) for item in items)
    share = sum(1 / counts[str(item.label)] for item in long) / max(len(counts), 1)
    return FreshCrops(len(long), hours, share, seconds)


# ---------------------------------------------------------------- the speed of the upstream


def measured(upstream: Loaded, reduction: Reduction, device: str) -> Speed:
    """The upstream on a batch of noise as extraction makes it, after a warm-up; one by one if no two sounds may pass together.

    Reducing the features and bringing them to the CPU is part of it. A fast model gets the batch several times.
    """
    import torch

    count = BATCH_SAMPLES[device] // (SAMPLE_SECONDS * SAMPLE_RATE)
    with seeded(5):
        waves = list(torch.randn(count, SAMPLE_SECONDS * SAMPLE_RATE) * 0.1)
    size = 1 if upstream.batching == "none" else count
    batches = [waves[at : at + size] for at in range(0, count, size)]
    nowhere = Audio(Path("noise"))
    warm = batches[0] if device == "cuda" else waves[:1]  # a first batch of its shape is slower on a GPU
    forward(upstream, warm, [nowhere] * len(warm), reduction, device)
    began, rounds, work = time.perf_counter(), 0, 0.0
    while work < LEAST_SECONDS:
        for batch in batches:
            forward(upstream, batch, [nowhere] * len(batch), reduction, device)
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
