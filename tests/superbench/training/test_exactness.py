"""The mean reduction is exact: what a pooled head learns from means is what it learns from all frames.

The plain way mixes the layers, projects every frame, averages an utterance's own frames and classifies (SUPERB's
`UtteranceLevel`); ours averages first. Nothing in between is anything but linear.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from downstream.shared.pooled import PooledLinear, PooledSlots
from superbench.contract import Recipe
from superbench.training.probes.batches import BatchPlan, Traits
from superbench.training.probes.probe import MeanExamples, Probe
from superbench.training.probes.sweep import Sweep
from superbench.training.probes.updates import Point

LAYERS, DIM, ITEMS, LONGEST = 13, 48, 96, 30
CLASSES = tuple(f"class {number}" for number in range(12))
SLOTS = {"action": tuple("abcdef"), "object": tuple("abcdefghijklmn"), "location": tuple("abcd")}
SWEEPS = [((1e-1, 1e-2, 1e-3, 1e-4, 1e-5), 20), pytest.param((1e-2, 1e-3, 1e-4, 1e-5), 150, marks=pytest.mark.slow)]
"""Learning rates and updates. The three slots do not settle at a rate of 0.1: there a difference in the last bit grows by
about a quarter with every update, in whatever order one adds, so long trainings at that rate have no digits to compare."""
HEADS = {"one class": lambda: PooledLinear(DIM, CLASSES), "three slots": lambda: PooledSlots(DIM, SLOTS)}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


class OnFrames(nn.Module):
    """Reference model: (batch, layer, time, dim) → weighted sum → project → mean over valid frames → classify."""

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self.probe = copy.deepcopy(probe)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        head: Any = self.probe.head
        assert self.probe.weights is not None
        mixed = torch.einsum("l,bltd->btd", self.probe.weights.softmax(0), frames)
        projected = head.project(mixed)
        pooled = torch.stack([row[:length].mean(0) for row, length in zip(projected, lengths.tolist(), strict=True)])
        return head.classify(pooled)


def material(head: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Frames (item, layer, time, dim) of different lengths with random values in the padding, lengths, means, targets."""
    random = torch.Generator().manual_seed(3)
    lengths = torch.randint(3, LONGEST + 1, (ITEMS,), generator=random)
    targets = [head.encode(label) for label in labels(head, random)]
    voices = torch.randn(40, LAYERS, DIM, generator=random, dtype=torch.float64)
    offsets = torch.tensor([0, 6, 20]) if isinstance(head, PooledSlots) else torch.zeros(1, dtype=torch.long)
    centres = torch.stack([voices[target.reshape(-1) + offsets].sum(0) for target in targets])  # (item, layer, dim)
    frames = torch.randn(ITEMS, LAYERS, LONGEST, DIM, generator=random, dtype=torch.float64) * 2
    frames = (frames + centres[:, :, None]).to(dtype)
    means = torch.stack([frames[i, :, :length].mean(1) for i, length in enumerate(lengths.tolist())])
    return frames, lengths, means, targets


def labels(head: Any, random: torch.Generator) -> Iterator[Any]:
    for _ in range(ITEMS):
        numbers = torch.randint(1_000, (3,), generator=random).tolist()
        if isinstance(head, PooledLinear):
            yield CLASSES[numbers[0] % len(CLASSES)]
        else:
            yield {slot: SLOTS[slot][n % len(SLOTS[slot])] for slot, n in zip(SLOTS, numbers, strict=True)}


def far(one: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((one.detach() - other.detach()).abs().max() / other.detach().abs().max())


def fresh(head: str, dtype: torch.dtype, seed: int = 0) -> Probe:
    torch.manual_seed(seed)
    probe = Probe(HEADS[head](), LAYERS).to(dtype)
    assert probe.weights is not None
    nn.init.normal_(probe.weights)  # unlike layers, unlike gradients
    return probe


def sweep(probes: list[Probe], rates: tuple[float, ...], means: Tensor, targets: list[Tensor], recipe: Recipe) -> Sweep:
    points = [Point(rate, seed) for seed, rate in enumerate(rates)]
    plan = BatchPlan(recipe, Traits([1] * ITEMS, [1] * ITEMS, ["x"] * ITEMS))
    return Sweep(points, copy.deepcopy(probes), recipe, plan, MeanExamples(means, "cpu"), targets)


def plainly(
    model: nn.Module, inputs: tuple[Tensor, ...], targets: list[Tensor], rate: float, plan: BatchPlan, recipe: Recipe
) -> list[float]:
    """Reference training loop: micro-batches, clipping, `torch.optim.Adam`; returns the loss of every update.

    `inputs` have the item first.
    """
    probe: Any = getattr(model, "probe", model)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    losses = []
    for number in range(recipe.steps):
        total = 0.0
        for indices in plan(number):
            features, lengths = (one[indices] for one in inputs)
            loss = probe.head.loss(model(features, lengths), lengths, torch.stack([targets[i] for i in indices]))
            (loss / recipe.accumulate).backward()
            total += float(loss.detach()) / recipe.accumulate
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("head", HEADS)
def test_logits_and_gradients_from_means_are_those_from_frames(head: str, dtype: torch.dtype) -> None:
    probe = fresh(head, dtype)
    plain = OnFrames(probe)
    frames, lengths, means, targets = material(probe.head, dtype)
    together = torch.stack(targets)
    ours, theirs = probe(means, lengths), plain(frames, lengths)
    probe.head.loss(ours, lengths, together).backward()  # type: ignore[operator]
    probe.head.loss(theirs, lengths, together).backward()  # type: ignore[operator]
    assert far(ours, theirs) <= TOLERANCE[dtype]
    for (name, one), other in zip(probe.named_parameters(), plain.probe.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert far(one.grad, other.grad) <= TOLERANCE[dtype], name


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("head", HEADS)
def test_200_updates_on_means_are_those_on_frames(head: str, dtype: torch.dtype) -> None:
    recipe = Recipe(steps=200, batch=8, evaluate_every=200, learning_rates=(), accumulate=2)
    probe = fresh(head, dtype)
    plain = OnFrames(probe)
    frames, lengths, means, targets = material(probe.head, dtype)
    ours = sweep([probe], (1e-3,), means, targets, recipe)
    losses = torch.tensor([ours.step(number) for number in range(200)], dtype=dtype)
    expected = plainly(plain, (frames, lengths), targets, 1e-3, ours.plan, recipe)
    assert losses[-1] < losses[0] / 2  # something was learnt
    assert far(losses, torch.tensor(expected, dtype=dtype)) <= TOLERANCE[dtype]
    assert far(ours.current(0)(means, lengths), plain(frames, lengths)) <= TOLERANCE[dtype]


def test_padding_that_counted_would_be_seen() -> None:
    probe = fresh("one class", torch.float64)
    frames, lengths, _, _ = material(probe.head, torch.float64)
    padded_too = frames.mean(2)
    assert far(probe(padded_too, lengths), OnFrames(probe)(frames, lengths)) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(("rates", "steps"), SWEEPS)
@pytest.mark.parametrize("head", HEADS)
def test_a_sweep_in_double_precision_equals_each_probe_alone(head: str, rates: tuple[float, ...], steps: int) -> None:
    together, alone, _ = both_ways(head, torch.float64, rates, steps)
    for number, one in enumerate(alone):
        for name, value in one.named_parameters():
            assert far(together.own[number][name], value) <= 1e-9, (rates[number], name)


@pytest.mark.slow
@pytest.mark.parametrize(("rates", "steps"), SWEEPS)
@pytest.mark.parametrize("head", HEADS)
def test_a_sweep_in_single_precision_predicts_as_each_probe_alone(head: str, rates: tuple[float, ...], steps: int) -> None:
    together, alone, means = both_ways(head, torch.float32, rates, steps)
    noise = torch.randn(20 * ITEMS, LAYERS, DIM, generator=torch.Generator().manual_seed(9))
    tested = means.repeat(20, 1, 1) + noise
    lengths = torch.ones(len(tested))
    same = []
    for number, one in enumerate(alone):
        probes = together.current(number), one.eval()
        ours, theirs = (probe.head.decode(probe(tested, lengths), lengths) for probe in probes)  # type: ignore[operator]
        same += [first == second for first, second in zip(ours, theirs, strict=True)]
    assert sum(same) / len(same) >= 0.999


def both_ways(head: str, dtype: torch.dtype, rates: tuple[float, ...], steps: int) -> tuple[Sweep, list[Probe], Tensor]:
    """All learning rates trained together, and each separately, from different seeds, with SID's batches of 4 x 8."""
    recipe = Recipe(steps=steps, batch=8, evaluate_every=steps, learning_rates=(), accumulate=4)
    alone = [fresh(head, dtype, seed) for seed in range(len(rates))]
    _, lengths, means, targets = material(alone[0].head, dtype)
    together = sweep(alone, rates, means, targets, recipe)
    for number in range(recipe.steps):
        together.step(number)
    for probe, rate in zip(alone, rates, strict=True):
        plainly(probe, (means, lengths), targets, rate, together.plan, recipe)
    return together, alone, means
