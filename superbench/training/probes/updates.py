"""Update rules of a sweep: sequential (one head after another) or batched (all heads in one forward and backward pass).

In both rules one matrix product computes the weighted sums of the layers for all probes, and one more product the gradients of
all layer weights. Each probe makes its own step of Adam; clipping and the NaN rule are per probe (protocol.md 1.4).
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
"""Parameter names in a `Probe`: that of the layer weights, and the prefix of those of the head."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the grid: learning rate and seed."""

    lr: float
    seed: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A batch in memory: the concatenated features of several micro-batches, and the targets of each. `moment` is the batch
    key: the number of the update, and of the reading within it."""

    features: Tensor
    lengths: Tensor
    targets: Sequence[Any]
    moment: tuple[int, int]


class UpdateRule(Protocol):
    """The update rule of probes that are trained in parallel; the optimizer has a parameter group for each probe."""

    optimizer: torch.optim.Optimizer

    @property
    def own(self) -> Sequence[Mapping[str, Tensor]]:
        """The current weights of each probe, by name."""
        ...

    def learn(self, reading: Reading) -> list[float]:
        """Add the gradients of a batch to those of every probe; return the loss of each probe."""
        ...

    def update(self) -> list[int]:
        """Make one step with every probe; return the numbers of the skipped probes."""
        ...


class SequentialUpdate:
    """Each head has its own forward and backward pass. Used for heads on frames: each large graph is freed before the next."""

    def __init__(self, points: Sequence[Point], probes: Sequence[Probe], recipe: Recipe, *, draws: bool = True) -> None:
        self.points, self.probes, self.recipe, self.draws = points, probes, recipe, draws
        self.own = [dict(probe.named_parameters()) for probe in probes]
        self.optimizer = _optimizer(recipe, points, [list(weights.values()) for weights in self.own])
        self.mixed = next(iter(self.own[0].values())).new_empty(0)

    def learn(self, reading: Reading) -> list[float]:
        """Add the gradients. The gradient of a head's input overwrites that input, so that one product can use all of them."""
        weights, by_layer = mixing(self.probes, reading.features), reading.features.movedim(-2, 0)
        flat = by_layer.flatten(1)  # (layer, batch · ... · dim)
        mixed = torch.mm(weights.detach(), flat, out=self.mixed.resize_(len(weights), flat.shape[1]))
        losses = []
        for probe, point, values in zip(self.probes, self.points, mixed.view(-1, *by_layer.shape[1:]), strict=True):
            inputs = values.detach().requires_grad_(weights.requires_grad)
            with seeded(point.seed, *reading.moment) if self.draws else contextlib.nullcontext():
                loss = self._loss(probe.head, inputs, reading)
            loss.backward()
            losses.append(float(loss.detach()))
            values.copy_(inputs.grad) if inputs.grad is not None else values.zero_()
        if weights.requires_grad:
            weights.backward(mixed @ flat.T)
        return losses

    def _loss(self, head: Any, features: Tensor, reading: Reading) -> Tensor:
        """Return the sum of the losses of the micro-batches, divided by the number of micro-batches in an update."""
        sizes = [len(targets) for targets in reading.targets]
        outputs = head(features, reading.lengths).split(sizes)
        pieces = zip(outputs, reading.lengths.split(sizes), reading.targets, strict=True)
        return sum(head.loss(*piece) for piece in pieces) / self.recipe.accumulate

    def update(self) -> list[int]:
        """Clip the gradients of each probe by its own norm, then make a step of Adam; a probe with a NaN norm is skipped."""
        grads = [[weight.grad for weight in weights.values() if weight.grad is not None] for weights in self.own]
        norms = torch.stack([nn.utils.get_total_norm(of_probe) for of_probe in grads])
        skipped = []
        for number, norm in enumerate(norms.tolist()):
            if math.isnan(norm):
                skipped.append(number)
                self.probes[number].zero_grad()  # Adam skips weights without gradients
            elif norm > self.recipe.clip / 2:  # smaller gradients would not be changed
                nn.utils.clip_grads_with_norm_(self.own[number].values(), self.recipe.clip, norms[number])
        self.optimizer.step()
        self.optimizer.zero_grad()
        return skipped


class BatchedUpdate:
    """All heads share one forward and backward pass. Used for heads on time-averaged features that implement `Stacked`: for
    them, the overhead of a call exceeds the computation. All weights are stored in one matrix (probe, weight): a probe has one
    row, and a parameter name some columns."""

    def __init__(self, points: Sequence[Point], probes: Sequence[Probe], recipe: Recipe) -> None:
        self.head: Any = probes[0].head
        self.recipe = recipe
        shapes = {name: weight.shape for name, weight in probes[0].named_parameters()}
        flat = [torch.cat([weight.detach().flatten() for weight in probe.parameters()]) for probe in probes]
        self.values = torch.stack(flat)
        pieces = self.values.split([shape.numel() for shape in shapes.values()], dim=1)
        self.stacks = {name: piece.unflatten(1, shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
        self.own = [{name: stack[number] for name, stack in self.stacks.items()} for number in range(len(probes))]
        for stack in self.stacks.values():
            stack.requires_grad_()
        self.grads: list[Tensor] = []
        self.rows = [self.values[number].requires_grad_() for number in range(len(probes))]
        self.optimizer = _optimizer(recipe, points, [[row] for row in self.rows])

    def learn(self, reading: Reading) -> list[float]:
        """Add the gradients of all probes, with a single autograd graph."""
        by_layer = reading.features.movedim(-2, 0)
        weights = self.stacks[MIX].softmax(1) if MIX in self.stacks else by_layer.new_ones(len(self.rows), 1)
        mixed = (weights @ by_layer.flatten(1)).view(-1, *by_layer.shape[1:])
        of_head = {name.removeprefix(HEAD): stack for name, stack in self.stacks.items() if name != MIX}
        losses = self.head.losses(self.head.stacked(of_head, mixed), torch.cat(list(reading.targets)))
        shares = [1 / (len(targets) * self.recipe.accumulate) for targets in reading.targets for _ in targets]
        by_probe = losses @ losses.new_tensor(shares)
        grads = torch.autograd.grad(by_probe.sum(), list(self.stacks.values()), materialize_grads=True)
        self.grads.append(torch.cat([grad.flatten(1) for grad in grads], dim=1))
        return by_probe.tolist()

    def update(self) -> list[int]:
        """Make one step, as in `SequentialUpdate.update`, on the rows of the matrix."""
        grads = sum(self.grads[1:], start=self.grads[0])
        self.grads.clear()
        norms = torch.linalg.vector_norm(grads, dim=1)
        if float(norms.nan_to_num().max()) > self.recipe.clip / 2:
            grads *= (self.recipe.clip / (norms + 1e-6)).clamp(max=1.0)[:, None]
        skipped = norms.isnan().tolist()
        for row, grad, skip in zip(self.rows, grads, skipped, strict=True):
            row.grad = None if skip else grad
        self.optimizer.step()
        return [number for number, skip in enumerate(skipped) if skip]


def learning(points: Sequence[Point], probes: Sequence[Probe], recipe: Recipe, *, means: bool) -> UpdateRule:
    """Return the update rule for the probes: batched for `Stacked` heads on time-averaged features if all weights are trained,
    else sequential."""
    all_trained = all(weight.requires_grad for probe in probes for weight in probe.parameters())
    if means and all_trained and all(isinstance(probe.head, Stacked) for probe in probes):
        return BatchedUpdate(points, probes, recipe)
    return SequentialUpdate(points, probes, recipe, draws=not means)


def _optimizer(recipe: Recipe, points: Sequence[Point], weights: Sequence[Sequence[Tensor]]) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    groups = [{"params": list(of_probe), "lr": point.lr} for of_probe, point in zip(weights, points, strict=True)]
    return optimizer(groups, fused=True)
