"""How the probes of a sweep learn from a batch: one head after the other, or all heads in one pass.

Either way a batch is mixed for all probes in one product, the way back to the weights of all mixes is one product again, and
each probe takes its own step of Adam; clipping and the NaN rule are per probe (protocol.md 1.4).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from superbench.contract import Recipe, Stacked
from superbench.system.seeding import seeded
from superbench.training.probes.probe import Probe, mixing

MIX, HEAD = "weights", "head."
"""Names in a `Probe`: of the weights of its mix, and what those of its head begin with."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the grid."""

    lr: float
    seed: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A batch as it was read: micro-batches of features one behind the other, each with its targets. `moment` are the numbers
    of the update and of the reading in it."""

    features: Tensor
    lengths: Tensor
    targets: Sequence[Any]
    moment: tuple[int, int]


class UpdateRule(Protocol):
    """Probes that learn side by side; the optimizer has a group for each."""

    optimizer: torch.optim.Optimizer

    @property
    def own(self) -> Sequence[Mapping[str, Tensor]]:
        """The weights of each by name, as they are now."""
        ...

    def learn(self, reading: Reading) -> list[float]:
        """Add the gradients of a reading to those of every probe; returns the loss of each."""
        ...

    def update(self) -> list[int]:
        """Take a step with every probe; returns the numbers of those that were passed by."""
        ...


class SequentialUpdate:
    """Each head takes its own forward and backward pass: heads over frames, whose graphs are large and freed at once."""

    def __init__(self, points: Sequence[Point], probes: Sequence[Probe], recipe: Recipe, *, draws: bool = True) -> None:
        self.points, self.probes, self.recipe, self.draws = points, probes, recipe, draws
        self.own = [dict(probe.named_parameters()) for probe in probes]
        self.optimizer = _optimizer(recipe, points, [list(own.values()) for own in self.own])
        self.mixed = next(iter(self.own[0].values())).new_empty(0)

    def learn(self, reading: Reading) -> list[float]:
        """A head's gradient takes the place of the mix that it was given, so that all of them lie ready for one product."""
        weights, by_layer = mixing(self.probes, reading.features), reading.features.movedim(-2, 0)
        flat = by_layer.flatten(1)  # (layer, batch · ... · dim)
        mixed = torch.mm(weights.detach(), flat, out=self.mixed.resize_(len(weights), flat.shape[1]))
        losses = []
        for probe, point, values in zip(self.probes, self.points, mixed.view(-1, *by_layer.shape[1:]), strict=True):
            own = values.detach().requires_grad_(weights.requires_grad)
            with seeded(point.seed, *reading.moment) if self.draws else contextlib.nullcontext():
                loss = self._loss(probe.head, own, reading)
            loss.backward()
            losses.append(float(loss.detach()))
            values.copy_(own.grad) if own.grad is not None else values.zero_()
        if weights.requires_grad:
            weights.backward(mixed @ flat.T)
        return losses

    def _loss(self, head: Any, features: Tensor, reading: Reading) -> Tensor:
        """The losses of the micro-batches, each divided by the number of micro-batches in an update."""
        sizes = [len(targets) for targets in reading.targets]
        outputs = head(features, reading.lengths).split(sizes)
        pieces = zip(outputs, reading.lengths.split(sizes), reading.targets, strict=True)
        return sum(head.loss(*piece) for piece in pieces) / self.recipe.accumulate

    def update(self) -> list[int]:
        """Adam after clipping by each probe's own norm; a NaN norm passes that probe by."""
        grads = [[one.grad for one in own.values() if one.grad is not None] for own in self.own]
        norms = torch.stack([nn.utils.get_total_norm(some) for some in grads])
        passed = []
        for number, norm in enumerate(norms.tolist()):
            if math.isnan(norm):
                passed.append(number)
                self.probes[number].zero_grad()  # without gradients Adam passes it by
            elif norm > self.recipe.clip / 2:  # under that, nothing would change
                nn.utils.clip_grads_with_norm_(self.own[number].values(), self.recipe.clip, norms[number])
        self.optimizer.step()
        self.optimizer.zero_grad()
        return passed


class BatchedUpdate:
    """All heads in one forward and backward pass: heads over means, which say how (`Stacked`) and take longer to call than to
    compute. All weights lie in one matrix (probe, weight), of which each probe has a row and each name some columns."""

    def __init__(self, points: Sequence[Point], probes: Sequence[Probe], recipe: Recipe) -> None:
        self.head: Any = probes[0].head
        self.recipe = recipe
        shapes = {name: weight.shape for name, weight in probes[0].named_parameters()}
        flat = [torch.cat([weight.detach().flatten() for weight in probe.parameters()]) for probe in probes]
        self.values = torch.stack(flat)
        pieces = self.values.split([shape.numel() for shape in shapes.values()], dim=1)
        self.stacks = {name: some.unflatten(1, shape) for (name, shape), some in zip(shapes.items(), pieces, strict=True)}
        self.own = [{name: stack[number] for name, stack in self.stacks.items()} for number in range(len(probes))]
        for stack in self.stacks.values():
            stack.requires_grad_()
        self.grads: list[Tensor] = []
        self.rows = [self.values[number].requires_grad_() for number in range(len(probes))]
        self.optimizer = _optimizer(recipe, points, [[row] for row in self.rows])

    def learn(self, reading: Reading) -> list[float]:
        """One graph for all."""
        by_layer = reading.features.movedim(-2, 0)
        weights = self.stacks[MIX].softmax(1) if MIX in self.stacks else by_layer.new_ones(len(self.rows), 1)
        mixed = (weights @ by_layer.flatten(1)).view(-1, *by_layer.shape[1:])
        of_head = {name.removeprefix(HEAD): stack for name, stack in self.stacks.items() if name != MIX}
        losses = self.head.losses(self.head.stacked(of_head, mixed), torch.cat(list(reading.targets)))
        shares = [1 / (len(some) * self.recipe.accumulate) for some in reading.targets for _ in some]
        each = losses @ losses.new_tensor(shares)
        grads = torch.autograd.grad(each.sum(), list(self.stacks.values()), materialize_grads=True)
        self.grads.append(torch.cat([grad.flatten(1) for grad in grads], dim=1))
        return each.tolist()

    def update(self) -> list[int]:
        """As `SequentialUpdate.update`, on rows."""
        grads = sum(self.grads[1:], start=self.grads[0])
        self.grads.clear()
        norms = torch.linalg.vector_norm(grads, dim=1)
        if float(norms.nan_to_num().max()) > self.recipe.clip / 2:
            grads *= (self.recipe.clip / (norms + 1e-6)).clamp(max=1.0)[:, None]
        passed = norms.isnan().tolist()
        for row, grad, skip in zip(self.rows, grads, passed, strict=True):
            row.grad = None if skip else grad
        self.optimizer.step()
        return [number for number, skip in enumerate(passed) if skip]


def learning(points: Sequence[Point], probes: Sequence[Probe], recipe: Recipe, *, means: bool) -> UpdateRule:
    """The way that suits the probes: all at once where heads of means say how and all their weights learn, else one by one."""
    whole = all(weight.requires_grad for probe in probes for weight in probe.parameters())
    if means and whole and all(isinstance(probe.head, Stacked) for probe in probes):
        return BatchedUpdate(points, probes, recipe)
    return SequentialUpdate(points, probes, recipe, draws=not means)


def _optimizer(recipe: Recipe, points: Sequence[Point], weights: Sequence[Sequence[Tensor]]) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind([{"params": list(own), "lr": point.lr} for own, point in zip(weights, points, strict=True)], fused=True)
