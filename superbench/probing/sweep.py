"""A sweep: probes of all learning rates and seeds, trained side by side on the same batches.

A batch is read once and mixed for all probes in one product; then each head takes its own forward and backward pass. The way
back to the weights of all mixes is one product again, and each probe takes its own step of Adam. Clipping, the NaN rule and
selection are per probe. (Heads on means were tried as one batched computation over the probes, with `torch.vmap`: on a CPU that
is slower than one head after the other.)
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from superbench.contract import Recipe
from superbench.probing.batches import BatchPlan
from superbench.probing.probe import Examples, Probe, mixing
from superbench.probing.training import flushed, seeded


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the grid."""

    lr: float
    seed: int


class Sweep:
    """The grid, its probes, one optimizer (each probe a group of it), the weights kept so far, the count of skipped updates."""

    def __init__(
        self,
        points: Sequence[Point],
        probes: Sequence[Probe],
        recipe: Recipe,
        plan: BatchPlan,
        examples: Examples,
        targets: Sequence[Tensor],
    ) -> None:
        self.points, self.recipe, self.plan, self.examples = list(points), recipe, plan, examples
        self.probes = [probe.train() for probe in probes]
        some = next(probes[0].parameters())
        self.device, self.mixed = some.device, some.new_empty(0)
        on_device = [target.to(self.device) for target in targets]
        self.targets = torch.stack(on_device) if examples.one_row else on_device
        self.kept: dict[str, Tensor] = {}
        self.skipped = torch.zeros(len(self.points))
        self._losses: list[list[float]] = []
        self.own = [dict(probe.named_parameters()) for probe in self.probes]
        kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        pairs = zip(self.own, self.points, strict=True)
        self.optimizer = kind([{"params": list(own.values()), "lr": point.lr} for own, point in pairs], fused=True)

    def step(self, number: int) -> float:
        """One update of every probe; returns the mean loss."""
        with flushed():
            readings = [self._learn(parts, number, micro) for micro, parts in enumerate(self._readings(number))]
            self._update()
        self._losses.append([sum(some) for some in zip(*readings, strict=True)])
        return sum(self._losses[-1]) / len(self.probes)

    def _learn(self, parts: Sequence[np.ndarray], number: int, micro: int) -> list[float]:
        """Add the gradients of one reading to those of every probe; returns the loss of each.

        A head's gradient takes the place of the mix that it was given, so that all of them lie ready for one product.
        """
        features, lengths = self.examples.batch(np.concatenate(parts), (number, micro))
        self._expect(number, micro + 1)
        weights, by_layer = mixing(self.probes, features), features.movedim(-2, 0)
        flat = by_layer.flatten(1)  # (layer, batch · ... · dim)
        mixed = torch.mm(weights.detach(), flat, out=self.mixed.resize_(len(weights), flat.shape[1]))
        wanted, losses = [self._wanted(part) for part in parts], []
        for probe, point, values in zip(self.probes, self.points, mixed.view(-1, *by_layer.shape[1:]), strict=True):
            own = values.detach().requires_grad_(weights.requires_grad)  # each head's graph is freed at once
            with contextlib.nullcontext() if self.examples.one_row else seeded(point.seed, number, micro):
                loss = self._loss(probe.head, own, lengths, wanted)
            loss.backward()
            losses.append(float(loss.detach()))
            values.copy_(own.grad) if own.grad is not None else values.zero_()
        if weights.requires_grad:
            weights.backward(mixed @ flat.T)
        return losses

    def _readings(self, number: int) -> list[list[np.ndarray]]:
        """The micro-batches of an update as they are read: one by one, or, where an item is one row, all at once."""
        parts = self.plan(number)
        return [parts] if self.examples.one_row else [[part] for part in parts]

    def _loss(self, head: Any, features: Tensor, lengths: Tensor, wanted: Sequence[Any]) -> Tensor:
        """The losses of micro-batches with these targets, each divided by the number of micro-batches in an update."""
        sizes = [len(targets) for targets in wanted]
        pieces = zip(head(features, lengths).split(sizes), lengths.split(sizes), wanted, strict=True)
        return sum(head.loss(*piece) for piece in pieces) / self.recipe.accumulate

    def _wanted(self, part: np.ndarray) -> Any:
        if isinstance(self.targets, Tensor):
            return self.targets[torch.as_tensor(part, device=self.device)]
        return [self.targets[i] for i in part]

    def _expect(self, number: int, reading: int) -> None:
        """What is read after this may be decoded meanwhile."""
        coming = self._readings(number)
        if reading == len(coming):
            number, reading, coming = number + 1, 0, self._readings(number + 1)
        self.examples.expect(np.concatenate(coming[reading]), (number, reading))

    def _update(self) -> None:
        """Adam for every probe after clipping by its own norm; a NaN norm skips that probe's update (protocol.md 1.4)."""
        grads = [[one.grad for one in own.values() if one.grad is not None] for own in self.own]
        norms = torch.stack([nn.utils.get_total_norm(some) for some in grads])
        for number, norm in enumerate(norms.tolist()):
            if math.isnan(norm):
                self.skipped[number] += 1
                self.probes[number].zero_grad()  # without gradients Adam passes it by
            elif norm > self.recipe.clip / 2:  # under that, nothing would change
                nn.utils.clip_grads_with_norm_(self.own[number].values(), self.recipe.clip, norms[number])
        self.optimizer.step()
        self.optimizer.zero_grad()

    def recent(self) -> list[float | None]:
        """Every probe's mean loss over the updates since this was last asked; None where it is no number."""
        means = [sum(some) / len(some) for some in zip(*self._losses, strict=True)]
        self._losses.clear()
        return [value if math.isfinite(value) else None for value in means]

    def keep(self, number: int, name: str) -> None:
        """Remember the present weights of probe `number` under `name` (`best`, or a step)."""
        for key, value in self.own[number].items():
            self.kept[f"{number}/{name}/{key}"] = value.detach().clone()

    def probe(self, number: int, name: str) -> Probe:
        """Probe `number` with the weights kept under `name`, in eval mode."""
        prefix = f"{number}/{name}/"
        return self._with(number, {key[len(prefix) :]: value for key, value in self.kept.items() if key.startswith(prefix)})

    def current(self, number: int) -> Probe:
        """Probe `number` with its present weights, in eval mode."""
        return self._with(number, self.own[number])

    def _with(self, number: int, weights: Mapping[str, Tensor]) -> Probe:
        probe = copy.deepcopy(self.probes[number])
        probe.load_state_dict(dict(probe.state_dict()) | {key: value.detach() for key, value in weights.items()})
        return probe.eval()

    def state(self) -> dict[str, Tensor]:
        """Weights, Adam's moments, kept weights."""
        state = {f"kept/{key}": value for key, value in self.kept.items()} | {"skipped": self.skipped}
        for number, own in enumerate(self.own):
            for slot, (key, weight) in enumerate(own.items()):
                state[f"probe/{number}/{key}"] = weight.detach().clone()
                moments = self.optimizer.state.get(weight, {})
                state |= {f"adam/{number}/{slot}/{name}": value.clone() for name, value in moments.items()}
        return state

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self.kept = {key[5:]: value.to(self.device) for key, value in state.items() if key.startswith("kept/")}
        self.skipped = state["skipped"]
        for number, own in enumerate(self.own):
            for slot, (key, weight) in enumerate(own.items()):
                weight.copy_(state[f"probe/{number}/{key}"])
                prefix = f"adam/{number}/{slot}/"
                moments = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
                self.optimizer.state[weight] = {name: value.to(self.device) for name, value in moments.items()}
