"""An update: Adam or AdamW, accumulation, clipping, and the rule for NaN: `s3prl.downstream.runner.Runner.train`.

The reference's own training loop runs here, with the batches that our plan draws (its own draws are another generator's); our
two ways to train a sweep end with its weights. Its skip of a batch that does not fit into memory has no counterpart here:
deliberately, as it would make results depend on the machine.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from downstream.shared.ctc import CtcHead, FrameLinear
from downstream.shared.pooled import PooledLinear
from downstream.shared.text import PhoneAlphabet
from superbench.contract import Recipe
from superbench.training.probes.batches import BatchPlan, Traits
from superbench.training.probes.probe import MeanExamples, Probe
from superbench.training.probes.sweep import Sweep
from superbench.training.probes.updates import Point

Reference = Callable[[str], Any]
ITEMS, LAYERS, DIM, STEPS = 40, 3, 6, 25
PHONES = ("HH AH0", "B", "S T AA1", "OW2")


@pytest.fixture
def doubled() -> Iterator[None]:
    """Both sides compute in double precision: what remains between them is no processor's order of summation."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Fixed:
    """Examples of equal length, (item, time, layer, dim)."""

    one_row = False

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def batch(self, indices: Sequence[int], moment: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        chosen = self.values[torch.as_tensor(indices)]
        return chosen, torch.full((len(chosen),), chosen.shape[1])

    def prefetch(self, indices: Sequence[int], moment: tuple[int, ...]) -> None:
        """Nothing to prepare."""


class Recipes(nn.Module):
    """One of our heads behind the interface that the reference's loop expects of a recipe; an epoch is one update."""

    def __init__(self, head: nn.Module, plan: BatchPlan, targets: list[Tensor], time: int) -> None:
        super().__init__()
        self.head, self.plan, self.targets, self.time = head, plan, targets, time

    def get_dataloader(self, split: str, epoch: int) -> list[tuple]:
        """Sounds are as long as their features; every sample says which item it is of."""
        return [([np.full(self.time, i, np.float32) for i in part], part) for part in self.plan(epoch)]

    def forward(self, split: str, features: list[Tensor], items: np.ndarray, records: dict) -> Tensor:
        lengths, targets = torch.full((len(items),), self.time), [self.targets[i] for i in items]
        if isinstance(self.head, PooledLinear):
            return self.head.loss(self.head(torch.cat(features), lengths), lengths, torch.stack(targets))
        return self.head.loss(self.head(torch.stack(features), lengths), lengths, targets)


class Stored(nn.Module):
    """An upstream that looks up what it is to answer."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def get_downsample_rates(self, key: str) -> int:
        return 1

    def forward(self, wavs: list[Tensor]) -> dict[str, list[Tensor]]:
        known = len(wavs[0]) == self.values.shape[1]  # else it is the featurizer's second of noise
        items = torch.stack([wav[0] for wav in wavs]).long() if known else torch.zeros(1, dtype=torch.long)
        return {"hidden_states": list(self.values[items].permute(2, 0, 1, 3))}


def trained_by_theirs(
    reference: Reference, probe: Probe, recipe: Recipe, plan: BatchPlan, values: Tensor, targets: list[Tensor]
) -> Probe:
    module, upstream = reference("downstream.runner"), Stored(values)
    featurizer = reference("upstream.interfaces").Featurizer(upstream, upstream_device="cpu")
    parts = ((upstream, False), (featurizer, True), (Recipes(probe.head, plan, targets, values.shape[1]), True))
    runner = module.Runner.__new__(module.Runner)
    runner.all_entries = [module.ModelEntry(part, "part", trainable, None) for part, trainable in parts]
    runner.upstream, runner.featurizer, runner.downstream = runner.all_entries
    runner.init_ckpt, runner.args = {}, SimpleNamespace(device="cpu", expdir="none", push_to_hf_hub=False)
    never = {"log_step": 10**9, "eval_step": 10**9, "save_step": 10**9}
    names = {"adam": "Adam", "adamw": "AdamW"}
    runner.config = {
        "runner": never
        | {"total_steps": recipe.steps, "gradient_clipping": recipe.clip, "gradient_accumulate_steps": recipe.accumulate},
        "optimizer": {"name": "TorchOptim", "torch_optim_name": names[recipe.optimizer], "lr": recipe.learning_rates[0]},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SummaryWriter", lambda folder: SimpleNamespace(close=lambda: None))
        runner.train()
    assert probe.weights is not None
    probe.weights.data = featurizer.weights.data
    return probe


def assert_same_weights(sweep: Sweep, theirs: Probe, start: Probe) -> None:
    ends, starts = dict(theirs.named_parameters()), dict(start.named_parameters())
    for name, value in sweep.own[0].items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value, ends[name].detach(), rtol=1e-9, atol=1e-9)
        assert not torch.allclose(value, starts[name], atol=1e-3), f"{name} has not moved"


@pytest.mark.parametrize(("optimizer", "accumulate", "clip"), [("adam", 1, 1.0), ("adam", 4, 0.05), ("adamw", 5, 1_000.0)])
@pytest.mark.parametrize("reads", ["mean", "frames"])
@pytest.mark.usefixtures("doubled")
def test_the_weights_after_many_updates_are_those_of_the_references_loop(
    reference: Reference, reads: str, optimizer: Any, accumulate: int, clip: float, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe(
        steps=STEPS,
        batch=6,
        accumulate=accumulate,
        evaluate_every=STEPS,
        learning_rates=(1e-2,),
        optimizer=optimizer,
        clip=clip,
    )
    plan = BatchPlan(recipe, Traits([1] * ITEMS, [1] * ITEMS, ["x"] * ITEMS))
    values = 3 * torch.randn(ITEMS, 1 if reads == "mean" else 9, LAYERS, DIM)
    values[7] = torch.nan  # updates that meet this item are skipped
    head = PooledLinear(DIM, PHONES) if reads == "mean" else CtcHead(FrameLinear(DIM, 74, 16), PhoneAlphabet())
    start, targets = Probe(head, LAYERS), [head.encode(PHONES[i % 4]) for i in range(ITEMS)]
    theirs = trained_by_theirs(reference, copy.deepcopy(start), recipe, plan, values, targets)
    examples = MeanExamples(values[:, 0], "cpu") if reads == "mean" else Fixed(values)
    ours = Sweep([Point(1e-2, 0)], [copy.deepcopy(start)], recipe, plan, examples, targets)  # type: ignore[arg-type]
    for number in range(STEPS):
        ours.step(number)
    skipped = sum(7 in part for number in range(STEPS) for part in [np.concatenate(plan(number))])
    assert 0 < skipped < STEPS
    assert ours.skipped.tolist() == [skipped]
    assert capsys.readouterr().out.count("grad norm is NaN") == skipped
    assert_same_weights(ours, theirs, start)
