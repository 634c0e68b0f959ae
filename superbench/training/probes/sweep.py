"""A sweep: probes of all learning rates and seeds, trained side by side on the same batches.

A batch is read once for all of them; `updates.py` says how they learn from it. Selection is per probe.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from superbench.contract import Recipe
from superbench.training.loop import flushed
from superbench.training.probes.batches import BatchPlan
from superbench.training.probes.probe import Examples, Probe
from superbench.training.probes.updates import Point, Reading, learning


class Sweep:
    """The grid, its probes and how they learn, the weights kept so far, the count of skipped updates."""

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
        self.device = next(probes[0].parameters()).device
        on_device = [target.to(self.device) for target in targets]
        self.targets = torch.stack(on_device) if examples.one_row else on_device
        self.kept: dict[str, Tensor] = {}
        self.skipped = torch.zeros(len(self.points))
        self._losses: list[list[float]] = []
        self._learning = learning(self.points, self.probes, recipe, means=examples.one_row)
        self.own = self._learning.own

    def step(self, number: int) -> float:
        """One update of every probe; returns the mean loss."""
        with flushed():
            readings = [self._learning.learn(self._read(parts, number, i)) for i, parts in enumerate(self._readings(number))]
            for passed in self._learning.update():
                self.skipped[passed] += 1
        self._losses.append([sum(some) for some in zip(*readings, strict=True)])
        return sum(self._losses[-1]) / len(self.probes)

    def _read(self, parts: Sequence[np.ndarray], number: int, reading: int) -> Reading:
        moment = (number, reading)
        features, lengths = self.examples.batch(np.concatenate(parts), moment)
        self._expect(number, reading + 1)
        return Reading(features, lengths, [self._wanted(part) for part in parts], moment)

    def _readings(self, number: int) -> list[list[np.ndarray]]:
        """The micro-batches of an update as they are read: one by one, or, where an item is one row, all at once."""
        parts = self.plan(number)
        return [parts] if self.examples.one_row else [[part] for part in parts]

    def _wanted(self, part: np.ndarray) -> Any:
        if isinstance(self.targets, Tensor):
            return self.targets[torch.as_tensor(part, device=self.device)]
        return [self.targets[i] for i in part]

    def _expect(self, number: int, reading: int) -> None:
        """What is read after this may be decoded meanwhile."""
        coming = self._readings(number)
        if reading == len(coming):
            number, reading, coming = number + 1, 0, self._readings(number + 1)
        self.examples.prefetch(np.concatenate(coming[reading]), (number, reading))

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
            state |= {f"probe/{number}/{key}": weight.detach().clone() for key, weight in own.items()}
        for prefix, weight in self._learnt():
            moments = self._learning.optimizer.state.get(weight, {})
            state |= {prefix + name: value.clone() for name, value in moments.items()}
        return state

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self.kept = {key[5:]: value.to(self.device) for key, value in state.items() if key.startswith("kept/")}
        self.skipped = state["skipped"]
        for number, own in enumerate(self.own):
            for key, weight in own.items():
                weight.copy_(state[f"probe/{number}/{key}"])
        for prefix, weight in self._learnt():
            moments = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
            self._learning.optimizer.state[weight] = {name: value.to(self.device) for name, value in moments.items()}

    def _learnt(self) -> Iterator[tuple[str, Tensor]]:
        """What the optimizer moves, and what the names of its moments begin with."""
        for number, group in enumerate(self._learning.optimizer.param_groups):
            for slot, weight in enumerate(group["params"]):
                yield f"adam/{number}/{slot}/", weight
