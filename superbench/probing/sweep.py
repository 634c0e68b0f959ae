"""A sweep: probes of all learning rates and seeds, trained side by side on the same batches.

A batch is read once and mixed for all probes in one product; then each head takes its own forward and backward pass, and each
probe its own step of Adam. Clipping, the NaN rule and selection are per probe. (Heads on means were tried as one batched
computation over the probes, with `torch.vmap`: on a CPU that is slower than one head after the other.)
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
from superbench.probing.probe import Examples, Probe, mix
from superbench.probing.training import seeded


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the grid."""

    lr: float
    seed: int


class Sweep:
    """The grid, its probes, each probe's own optimizer, the weights kept so far, the count of skipped updates."""

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
        self.probes = list(probes)
        self.device = next(probes[0].parameters()).device
        on_device = [target.to(self.device) for target in targets]
        self.targets = torch.stack(on_device) if examples.one_row else on_device
        self.kept: dict[str, Tensor] = {}
        self.skipped = torch.zeros(len(self.points))
        self.own = [dict(probe.named_parameters()) for probe in self.probes]
        kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        pairs = zip(self.own, self.points, strict=True)
        self.optimizers = [kind(list(own.values()), lr=point.lr, fused=True) for own, point in pairs]

    def step(self, number: int) -> float:
        """One update of every probe; returns the mean loss."""
        total = 0.0
        for micro, parts in enumerate(self._readings(number)):
            features, lengths = self.examples.batch(np.concatenate(parts), (number, micro))
            self._expect(number, micro + 1)
            mixed = mix(self.probes, features)
            leaves = [one.requires_grad_(mixed.requires_grad) for one in mixed.detach()]  # each head's graph is freed at once
            for probe, point, own in zip(self.probes, self.points, leaves, strict=True):
                probe.train()
                with contextlib.nullcontext() if self.examples.one_row else seeded(point.seed, number, micro):
                    loss = self._loss(probe.head, own, lengths, parts)
                loss.backward()
                total += float(loss.detach())
            if mixed.requires_grad:
                mixed.backward(torch.stack([own.grad for own in leaves if own.grad is not None]))
        self._update()
        return total / len(self.probes)

    def _readings(self, number: int) -> list[list[np.ndarray]]:
        """The micro-batches of an update as they are read: one by one, or, where an item is one row, all at once."""
        parts = self.plan(number)
        return [parts] if self.examples.one_row else [[part] for part in parts]

    def _loss(self, head: Any, features: Tensor, lengths: Tensor, parts: Sequence[np.ndarray]) -> Tensor:
        """The losses of these micro-batches, each divided by the number of them in an update."""
        sizes = [len(part) for part in parts]
        pieces = zip(head(features, lengths).split(sizes), lengths.split(sizes), parts, strict=True)
        losses = [head.loss(outputs, lens, self._wanted(part)) for outputs, lens, part in pieces]
        return torch.stack(losses).sum() / self.recipe.accumulate

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
        norms = [nn.utils.clip_grad_norm_(own.values(), self.recipe.clip) for own in self.own]
        for number, (norm, optimizer) in enumerate(zip(torch.stack(norms).tolist(), self.optimizers, strict=True)):
            if math.isnan(norm):
                self.skipped[number] += 1
            else:
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)

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
        for number, (own, optimizer) in enumerate(zip(self.own, self.optimizers, strict=True)):
            state |= {f"probe/{number}/{key}": value.detach().clone() for key, value in own.items()}
            for slot, moments in optimizer.state_dict()["state"].items():
                state |= {f"adam/{number}/{slot}/{key}": torch.as_tensor(value).clone() for key, value in moments.items()}
        return state

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self.kept = {key[5:]: value.to(self.device) for key, value in state.items() if key.startswith("kept/")}
        self.skipped = state["skipped"]
        for number, (own, optimizer) in enumerate(zip(self.own, self.optimizers, strict=True)):
            for key, weight in own.items():
                weight.copy_(state[f"probe/{number}/{key}"])
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in state.items():
                if key.startswith(f"adam/{number}/"):
                    _, _, slot, name = key.split("/")
                    slots.setdefault(int(slot), {})[name] = value
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
