"""Builds sweeps on stored features for the benchmarks, as the engine builds them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from superbench.contract import Audio, Fold, Item, Recipe, Split, Task
from superbench.features.extraction import Extraction, extract
from superbench.features.store import Store
from superbench.plugins import Loaded
from superbench.system.progress import Silence
from superbench.system.seeding import seeded
from superbench.training.probes.batches import BatchPlan, Traits
from superbench.training.probes.fold import Conditions, examples_of
from superbench.training.probes.probe import Examples, Probe
from superbench.training.probes.sweep import Sweep
from superbench.training.probes.updates import Point

PHONES_PER_SECOND = 10


def recipe_of(task: Task) -> Recipe:
    """Returns the official recipe whose features can be stored."""
    return task.card.recipes["superb-once"]


def stored(upstream: Loaded, audios: Sequence[Audio], task: Task, root: Path, device: str) -> Extraction:
    """Extracts the features of `audios` with the task's reduction into a store at `root`."""
    return extract(upstream, audios, task.card.reads, Store(root), device, Silence())


def items_of(task: Task, upstream: Loaded, extraction: Extraction, audios: Sequence[Audio]) -> list[Item]:
    """Returns items: each sound with a random label of the task's head."""
    head = head_of(task, upstream.dim)
    chance = random.Random(0)
    seconds = [extraction.samples(audio) / 16_000 for audio in audios]
    labels = [_label(head, chance, length) for length in seconds]
    return [Item(str(n), audio, label, ()) for n, (audio, label) in enumerate(zip(audios, labels, strict=True))]


def _label(head: Any, chance: random.Random, seconds: float) -> Any:
    if hasattr(head, "slots"):
        return {slot: chance.choice(values) for slot, values in head.slots.items()}
    if hasattr(head, "classes"):
        return chance.choice(head.classes)
    known = [symbol for symbol in head.alphabet.symbols if not symbol.startswith("<")]
    return " ".join(chance.choices(known, k=max(1, round(seconds * PHONES_PER_SECOND))))


def head_of(task: Task, dim: int) -> Any:
    """The task's head, which for the tasks here does not depend on the fold."""
    assert task.head is not None
    nothing = Fold("all", Split("train", ()), Split("dev", ()), Split("test", ()))
    return task.head(dim, nothing, recipe_of(task))


def points_of(rates: Sequence[float]) -> tuple[Point, ...]:
    """A grid of one seed."""
    return tuple(Point(rate, 0) for rate in rates)


def probe(task: Task, upstream: Loaded, device: str) -> Probe:
    """A probe as the engine starts it."""
    with seeded(0):
        return Probe(head_of(task, upstream.dim), upstream.layers).to(device)


def examples(task: Task, upstream: Loaded, items: Sequence[Item], extraction: Extraction, device: str) -> Examples:
    """Returns the examples of the task's heads."""
    nobody = Conditions(task, recipe_of(task), (), upstream.layers, upstream.dim, device, "", Path(), Silence())
    return examples_of(nobody, items, extraction)


def sweep(
    task: Task, upstream: Loaded, rates: Sequence[float], items: Sequence[Item], extraction: Extraction, device: str
) -> Sweep:
    """All rates side by side on the items, as a run would train them under the official recipe."""
    recipe, points = recipe_of(task), points_of(rates)
    probes = [probe(task, upstream, device) for _ in points]
    targets = [probes[0].head.encode(item.label) for item in items]  # type: ignore[operator]
    samples = [extraction.samples(item.audio) for item in items]
    traits = Traits(samples, [target.numel() for target in targets], [str(item.label) for item in items])
    return Sweep(
        points, probes, recipe, BatchPlan(recipe, traits), examples(task, upstream, items, extraction, device), targets
    )


class Steps:
    """A sweep; each call computes the next `count` updates."""

    def __init__(self, sweep: Sweep, count: int) -> None:
        self.sweep, self.count, self.done = sweep, count, 0

    def __call__(self) -> None:
        """Computes the next updates."""
        for _ in range(self.count):
            self.sweep.step(self.done)  # type: ignore[attr-defined]
            self.done += 1


class PlainProbe:
    """A probe trained in the plain way: forward, loss, backward, clip, `torch.optim.Adam`; nothing is shared."""

    def __init__(self, probe: Probe, rate: float, recipe: Recipe) -> None:
        self.probe, self.recipe = probe.train(), recipe
        self.optimizer = torch.optim.Adam(probe.parameters(), lr=rate)

    def step(self, batches: Sequence[tuple[Tensor, Tensor, Any]]) -> None:
        """Computes one update from its micro-batches, each (features, lengths, targets)."""
        for features, lengths, targets in batches:
            loss = self.probe.head.loss(self.probe(features, lengths), lengths, targets)  # type: ignore[operator]
            (loss / len(batches)).backward()
        torch.nn.utils.clip_grad_norm_(self.probe.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()


def micro_batches(sweep: Sweep, number: int) -> list[tuple[Tensor, Tensor, Any]]:
    """Returns the batches of update `number` of a sweep."""
    made = []
    for indices in sweep.plan(number):
        features, lengths = sweep.examples.batch(indices)
        features = features if sweep.examples.one_row else features.clone()  # the next batch takes their place
        targets: Any = [sweep.targets[i] for i in indices]
        made.append((features, lengths, torch.stack(targets) if sweep.examples.one_row else targets))
    return made
