"""A sweep: probes of all learning rates and seeds, trained in parallel on the same batches.

Each batch is read once for all probes; `updates.py` contains the update rules. Selection is per probe.
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
    """The grid, its probes and their update rule, the weights kept so far, and the number of skipped updates."""

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
        """Update every probe once; return the mean loss."""
        with flushed():
            readings = [self._learning.learn(self._read(parts, number, i)) for i, parts in enumerate(self._readings(number))]
            for skipped in self._learning.update():
                self.skipped[skipped] += 1
        self._losses.append([sum(losses) for losses in zip(*readings, strict=True)])
        return sum(self._losses[-1]) / len(self.probes)

    def _read(self, parts: Sequence[np.ndarray], number: int, reading: int) -> Reading:
        moment = (number, reading)
        features, lengths = self.examples.batch(np.concatenate(parts), moment)
        self._prefetch(number, reading + 1)
        return Reading(features, lengths, [self._targets_of(part) for part in parts], moment)

    def _readings(self, number: int) -> list[list[np.ndarray]]:
        """Return the micro-batches of an update by reading: one per reading, or all in one reading if an item is one row."""
        parts = self.plan(number)
        return [parts] if self.examples.one_row else [[part] for part in parts]

    def _targets_of(self, part: np.ndarray) -> Any:
        if isinstance(self.targets, Tensor):
            return self.targets[torch.as_tensor(part, device=self.device)]
        return [self.targets[i] for i in part]

    def _prefetch(self, number: int, reading: int) -> None:
        """Prefetch the batch of this reading, so that it is decoded in the background."""
        readings = self._readings(number)
        if reading == len(readings):
            number, reading, readings = number + 1, 0, self._readings(number + 1)
        self.examples.prefetch(np.concatenate(readings[reading]), (number, reading))

    def recent(self) -> list[float | None]:
        """Return the mean loss of each probe over the updates since the last call; None if it is not finite."""
        means = [sum(losses) / len(losses) for losses in zip(*self._losses, strict=True)]
        self._losses.clear()
        return [value if math.isfinite(value) else None for value in means]

    def keep(self, number: int, name: str) -> None:
        """Store a copy of the current weights of probe `number` under `name` (`best`, or a step)."""
        for key, value in self.own[number].items():
            self.kept[f"{number}/{name}/{key}"] = value.detach().clone()

    def probe(self, number: int, name: str) -> Probe:
        """Return probe `number` with the weights kept under `name`, in eval mode."""
        prefix = f"{number}/{name}/"
        return self._copy_with(
            number, {key[len(prefix) :]: value for key, value in self.kept.items() if key.startswith(prefix)}
        )

    def current(self, number: int) -> Probe:
        """Return probe `number` with its current weights, in eval mode."""
        return self._copy_with(number, self.own[number])

    def _copy_with(self, number: int, weights: Mapping[str, Tensor]) -> Probe:
        probe = copy.deepcopy(self.probes[number])
        probe.load_state_dict(dict(probe.state_dict()) | {key: value.detach() for key, value in weights.items()})
        return probe.eval()

    def state(self) -> dict[str, Tensor]:
        """Return weights, Adam's moments, kept weights and the numbers of skipped updates."""
        state = {f"kept/{key}": value for key, value in self.kept.items()} | {"skipped": self.skipped}
        for number, weights in enumerate(self.own):
            state |= {f"probe/{number}/{key}": weight.detach().clone() for key, weight in weights.items()}
        for prefix, weight in self._optimized():
            moments = self._learning.optimizer.state.get(weight, {})
            state |= {prefix + name: value.clone() for name, value in moments.items()}
        return state

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Load a state that `state` returned."""
        self.kept = {key[5:]: value.to(self.device) for key, value in state.items() if key.startswith("kept/")}
        self.skipped = state["skipped"]
        for number, weights in enumerate(self.own):
            for key, weight in weights.items():
                weight.copy_(state[f"probe/{number}/{key}"])
        for prefix, weight in self._optimized():
            moments = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
            self._learning.optimizer.state[weight] = {name: value.to(self.device) for name, value in moments.items()}

    def _optimized(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each tensor that the optimizer updates, with the prefix of its moments' names in the state."""
        for number, group in enumerate(self._learning.optimizer.param_groups):
            for slot, weight in enumerate(group["params"]):
                yield f"adam/{number}/{slot}/", weight
