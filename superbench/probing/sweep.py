"""A sweep: probes of all learning rates and seeds, trained side by side on the same batches.

Two ways with one meaning. `SideBySide` steps each probe in turn on a batch that was read once (heads on frames). `Stacked`
keeps the weights of all probes in one tensor each and makes one batched computation of the whole sweep (heads on means).
Clipping, the NaN rule and selection are per probe.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from superbench.contract import Recipe
from superbench.probing.batches import BatchPlan
from superbench.probing.probe import Examples, Probe
from superbench.probing.training import seeded


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the grid."""

    lr: float
    seed: int


class Sweep:
    """What both ways share: the grid, each probe's own optimizer, the weights kept so far, the count of skipped updates.

    `own[i]` names the parameters of probe i; the two ways differ in where they lie and in how their gradients come about.
    """

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
        self.own = self._parameters()
        kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        pairs = zip(self.own, self.points, strict=True)
        self.optimizers = [kind(list(own.values()), lr=point.lr, fused=True) for own, point in pairs]

    def _parameters(self) -> list[dict[str, nn.Parameter]]:
        """The parameters of each probe by name."""
        return [dict(probe.named_parameters()) for probe in self.probes]

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


class SideBySide(Sweep):
    """Probes on frames: one batch is read, each probe takes its own step on it."""

    def step(self, number: int) -> float:
        """One update of every probe; returns the mean loss."""
        for probe in self.probes:
            probe.train()
        total = 0.0
        for micro, indices in enumerate(self.plan(number)):
            features, lengths = self.examples.batch(indices, (number, micro))
            self._expect(number, micro + 1)
            targets = [self.targets[i] for i in indices]
            for probe, point in zip(self.probes, self.points, strict=True):
                with seeded(point.seed, number, micro):
                    loss = probe.head.loss(probe(features, lengths), lengths, targets)  # type: ignore[operator]
                (loss / self.recipe.accumulate).backward()
                total += float(loss.detach()) / self.recipe.accumulate
        self._update()
        return total / len(self.probes)

    def _expect(self, number: int, micro: int) -> None:
        """What comes after this micro-batch may be decoded meanwhile."""
        if micro == self.recipe.accumulate:
            number, micro = number + 1, 0
        self.examples.expect(self.plan(number)[micro], (number, micro))


class Stacked(Sweep):
    """Probes on means: the weights of all probes lie in one tensor each, `(probe, ...)`, and a step is one batched computation.

    The losses of the probes are independent, so the gradient of their sum holds each probe's own gradient. A probe's parameters
    are views of its slice of the stack, which its optimizer changes in place. Heads on means treat every item by itself, so
    the micro-batches of an update pass together; their losses are still averaged one by one.
    """

    def _parameters(self) -> list[dict[str, nn.Parameter]]:
        stacked, _ = stack_module_state(list[nn.Module](self.probes))
        self.stack = {name: value.detach().clone().requires_grad_() for name, value in stacked.items()}
        self.head = copy.deepcopy(self.probes[0].head).to("meta")
        self.labels = torch.stack(self.targets)
        slices = ({name: value.detach()[i] for name, value in self.stack.items()} for i in range(len(self.probes)))
        return [{name: nn.Parameter(value) for name, value in own.items()} for own in slices]

    def outputs(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Outputs of all probes, (probe, batch, ...), for features (batch, layer, dim)."""
        mix = self.stack["weights"].softmax(1) if "weights" in self.stack else features.new_ones(len(self.points), 1)
        batch, layers, dim = features.shape
        mixed = (mix @ features.transpose(0, 1).reshape(layers, batch * dim)).view(-1, batch, dim)  # (probe, batch, dim)
        heads = {name.removeprefix("head."): value for name, value in self.stack.items() if name != "weights"}
        return torch.vmap(lambda weights, inputs: functional_call(self.head, weights, (inputs, lengths)))(heads, mixed)

    def step(self, number: int) -> float:
        """One update of every probe; returns the mean loss."""
        parts = self.plan(number)
        indices, sizes = np.concatenate(parts), [len(part) for part in parts]
        features, lengths = self.examples.batch(indices, (number,))
        self.examples.expect(np.concatenate(self.plan(number + 1)), (number + 1,))
        outputs = self.outputs(features, lengths)
        labels = self.labels[torch.as_tensor(indices, device=self.device)]
        pieces = zip(outputs.split(sizes, 1), lengths.split(sizes), labels.split(sizes), strict=True)
        losses = torch.stack([torch.vmap(self._loss(lens, right))(out) for out, lens, right in pieces])  # (micro, probe)
        total = losses.sum(0) / self.recipe.accumulate
        gradients = torch.autograd.grad(total.sum(), list(self.stack.values()))
        for name, gradient in zip(self.stack, gradients, strict=True):
            for own, slice_ in zip(self.own, gradient.contiguous(), strict=True):  # the fused step ignores strides
                own[name].grad = slice_
        self._update()
        return float(total.detach().mean())

    def _loss(self, lengths: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda outputs: self.head.loss(outputs, lengths, labels)  # type: ignore[operator]
