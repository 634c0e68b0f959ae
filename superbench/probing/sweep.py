"""A sweep: probes of all learning rates and seeds, trained side by side on the same batches.

Two ways with one meaning. `SideBySide` steps each probe in turn on a batch that was read once (heads on frames). `Stacked`
keeps the weights of all probes in one tensor each and makes one batched computation of the whole sweep (heads on means).
Clipping, the NaN rule and selection are per probe.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from superbench.contract import Recipe
from superbench.probing.batches import BatchPlan
from superbench.probing.probe import Examples, Probe
from superbench.probing.training import seeded

ADAM_EPSILON, ADAM_BETAS = 1e-8, (0.9, 0.999)
ADAMW_DECAY = 0.01


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the grid."""

    lr: float
    seed: int


class Sweep:
    """What both ways share: the grid, the weights kept so far, and the count of skipped updates."""

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
        self.device = next(probes[0].parameters()).device
        self.targets = [target.to(self.device) for target in targets]
        self.probes = list(probes)
        self.kept: dict[str, Tensor] = {}
        self.skipped = torch.zeros(len(self.points))

    def keep(self, number: int, name: str) -> None:
        """Remember the present weights of probe `number` under `name` (`best`, or a step)."""
        for key, value in self.weights(number).items():
            self.kept[f"{number}/{name}/{key}"] = value.detach().clone()

    def probe(self, number: int, name: str) -> Probe:
        """Probe `number` with the weights kept under `name`, in eval mode."""
        probe = copy.deepcopy(self.probes[number])
        prefix = f"{number}/{name}/"
        probe.load_state_dict({key[len(prefix) :]: value for key, value in self.kept.items() if key.startswith(prefix)})
        return probe.eval()

    def weights(self, number: int) -> Mapping[str, Tensor]:
        """The present weights of probe `number` by name."""
        raise TypeError("a sweep is SideBySide or Stacked")

    def current(self, number: int) -> Probe:
        """Probe `number` with its present weights, in eval mode."""
        probe = copy.deepcopy(self.probes[number])
        probe.load_state_dict(dict(self.weights(number)))
        return probe.eval()

    def _kept_state(self) -> dict[str, Tensor]:
        return {f"kept/{key}": value for key, value in self.kept.items()} | {"skipped": self.skipped}

    def _restore_kept(self, state: Mapping[str, Tensor]) -> None:
        self.kept = {key[5:]: value.to(self.device) for key, value in state.items() if key.startswith("kept/")}
        self.skipped = state["skipped"]


class SideBySide(Sweep):
    """Probes on frames: one batch is read, each probe takes its own step on it."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        kind = torch.optim.AdamW if self.recipe.optimizer == "adamw" else torch.optim.Adam
        self.optimizers = [kind(probe.parameters(), lr=point.lr) for probe, point in zip(self.probes, self.points, strict=True)]

    def step(self, number: int) -> float:
        """One update of every probe."""
        for probe in self.probes:
            probe.train()
        total = 0.0
        for micro, indices in enumerate(self.plan(number)):
            features, lengths = self.examples.batch(indices)
            targets = [self.targets[i] for i in indices]
            for probe, point in zip(self.probes, self.points, strict=True):
                with seeded(point.seed, number, micro):
                    loss = probe.head.loss(probe(features, lengths), lengths, targets)  # type: ignore[operator]
                (loss / self.recipe.accumulate).backward()
                total += float(loss.detach()) / self.recipe.accumulate
        for i, (probe, optimizer) in enumerate(zip(self.probes, self.optimizers, strict=True)):
            norm = nn.utils.clip_grad_norm_(probe.parameters(), self.recipe.clip)
            if torch.isnan(norm):
                self.skipped[i] += 1
            else:
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return total / len(self.probes)

    def weights(self, number: int) -> Mapping[str, Tensor]:
        """The present weights of probe `number` by name."""
        return self.probes[number].state_dict()

    def state(self) -> dict[str, Tensor]:
        """Weights, Adam's moments, kept weights."""
        state = self._kept_state()
        for i, (probe, optimizer) in enumerate(zip(self.probes, self.optimizers, strict=True)):
            for key, value in probe.state_dict().items():
                state[f"probe/{i}/{key}"] = value.clone()
            for slot, moments in optimizer.state_dict()["state"].items():
                for key, value in moments.items():
                    state[f"adam/{i}/{slot}/{key}"] = torch.as_tensor(value).clone()
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self._restore_kept(state)
        for i, (probe, optimizer) in enumerate(zip(self.probes, self.optimizers, strict=True)):
            prefix = f"probe/{i}/"
            probe.load_state_dict({key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)})
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in state.items():
                if key.startswith(f"adam/{i}/"):
                    _, _, slot, name = key.split("/")
                    slots.setdefault(int(slot), {})[name] = value
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


class Stacked(Sweep):
    """Probes on means: the weights of all probes lie in one tensor each, `(probe, ...)`, and a step is one batched computation.

    The losses of the probes are independent, so the gradient of their sum holds each probe's own gradient.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        stacked, _ = stack_module_state(list[nn.Module](self.probes))
        self.stack = {name: value.detach().clone().requires_grad_() for name, value in stacked.items()}
        self.first = {name: torch.zeros_like(value) for name, value in stacked.items()}
        self.second = {name: torch.zeros_like(value) for name, value in stacked.items()}
        self.updates = torch.zeros(len(self.points), device=self.device)
        self.rates = torch.tensor([point.lr for point in self.points], device=self.device)
        self.shell = copy.deepcopy(self.probes[0]).to("meta")
        self.labels = torch.stack(self.targets)

    def outputs(self, stack: Mapping[str, Tensor], features: Tensor, lengths: Tensor) -> Tensor:
        """Outputs of all probes, (probe, batch, ...)."""

        def one(weights: dict[str, Tensor]) -> Tensor:
            return functional_call(self.shell, weights, (features, lengths))

        return torch.vmap(one)(dict(stack))

    def step(self, number: int) -> float:
        """One update of every probe."""
        loss = torch.zeros(len(self.points), device=self.device)
        for indices in self.plan(number):
            features, lengths = self.examples.batch(indices)
            labels = self.labels[torch.as_tensor(indices, device=self.device)]
            outputs = self.outputs(self.stack, features, lengths)
            loss = loss + torch.vmap(lambda one: self.shell.head.loss(one, lengths, labels))(outputs)  # type: ignore[operator]  # noqa: B023
        loss = loss / self.recipe.accumulate
        gradients = dict(zip(self.stack, torch.autograd.grad(loss.sum(), list(self.stack.values())), strict=True))
        self._update(gradients)
        return float(loss.detach().mean())

    @torch.no_grad()
    def _update(self, gradients: dict[str, Tensor]) -> None:
        """Adam as `torch.optim.Adam` (AdamW), after clipping by each probe's own norm; a NaN norm skips that probe's update."""
        squares = sum(gradient.flatten(1).square().sum(1) for gradient in gradients.values())
        norm = torch.as_tensor(squares).sqrt()
        fine = ~norm.isnan()
        scale = torch.where(fine, (self.recipe.clip / (norm + 1e-6)).clamp(max=1.0), torch.zeros_like(norm))
        self.skipped += (~fine).float().cpu()
        self.updates += fine.float()
        beta1, beta2 = ADAM_BETAS
        for name, weight in self.stack.items():
            shape = (-1, *[1] * (weight.dim() - 1))
            ok = fine.view(shape)
            gradient = torch.where(ok, gradients[name] * scale.view(shape), 0.0)
            first, second = self.first[name], self.second[name]
            first.copy_(torch.where(ok, first * beta1 + gradient * (1 - beta1), first))
            second.copy_(torch.where(ok, second * beta2 + gradient.square() * (1 - beta2), second))
            step = self.rates / (1 - beta1**self.updates)
            root = (second / (1 - beta2**self.updates).view(shape)).sqrt() + ADAM_EPSILON
            if self.recipe.optimizer == "adamw":
                weight.mul_(torch.where(ok, 1 - self.rates.view(shape) * ADAMW_DECAY, 1.0))
            weight.sub_(torch.where(ok, step.view(shape) * first / root, 0.0))

    def weights(self, number: int) -> Mapping[str, Tensor]:
        """The present weights of probe `number` by name."""
        return {name: value[number] for name, value in self.stack.items()}

    def state(self) -> dict[str, Tensor]:
        """Weights, moments, kept weights."""
        state = self._kept_state() | {"updates": self.updates}
        for name in self.stack:
            state |= {f"w/{name}": self.stack[name], f"m/{name}": self.first[name], f"v/{name}": self.second[name]}
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self._restore_kept(state)
        self.updates = state["updates"].to(self.device)
        for name in self.stack:
            self.stack[name] = state[f"w/{name}"].to(self.device).requires_grad_()
            self.first[name], self.second[name] = state[f"m/{name}"].to(self.device), state[f"v/{name}"].to(self.device)
