"""KS, SID, ER and IC: the reference's heads read frames and average in between, ours read the mean.

Reference: `s3prl.downstream.model` (`UtteranceLevel` over `MeanPooling`) inside the `DownstreamExpert` of each recipe.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from downstream.keyword_spotting import CLASSES
from downstream.shared.pooled import PooledLinear, PooledSlots

Reference = Callable[[str], Any]
Bare = Callable[..., nn.Module]
DIM, LENGTHS = 20, (31, 7, 50, 1)
INTENTS = {"action": ("on", "off", "up"), "object": ("lamp", "none"), "location": ("none", "kitchen")}


def frames() -> list[Tensor]:
    """Utterances (time, dim) of unequal length."""
    return [torch.randn(length, DIM) for length in LENGTHS]


def means(utterances: list[Tensor]) -> Tensor:
    return torch.stack([one.mean(0) for one in utterances])


def same_weights(ours: PooledLinear | PooledSlots, theirs: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Copies our weights to theirs, and pairs them up."""
    pairs = [(ours.project, theirs.projector), (ours.classify, theirs.model.post_net.linear)]
    for mine, other in pairs:
        other.load_state_dict(mine.state_dict())
    return [pair for mine, other in pairs for pair in zip(mine.parameters(), other.parameters(), strict=True)]


def assert_same_gradients(pairs: list[tuple[Tensor, Tensor]]) -> None:
    for mine, other in pairs:
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-5, atol=1e-6)


def expert(reference: Reference, bare: Bare, recipe: str, outputs: int, **parts: object) -> nn.Module:
    model = reference("downstream.model").UtteranceLevel(input_dim=256, output_dim=outputs, pooling="MeanPooling")
    kind = reference(f"downstream.{recipe}.expert").DownstreamExpert
    return bare(kind, projector=nn.Linear(DIM, 256), model=model, objective=nn.CrossEntropyLoss(), **parts)


@pytest.mark.parametrize("recipe", ["speech_commands", "voxceleb1", "emotion"])
def test_one_class_out_of_many_has_the_same_loss_gradients_and_decisions(reference: Reference, bare: Bare, recipe: str) -> None:
    emotions = SimpleNamespace(idx2emotion=dict(enumerate(CLASSES)))
    theirs = expert(reference, bare, recipe, len(CLASSES), test_dataset=emotions)
    ours, utterances, records = PooledLinear(DIM, CLASSES), frames(), defaultdict(list)
    pairs = same_weights(ours, theirs)
    labels = [CLASSES[number] for number in (3, 0, 11, 3)]
    loss = theirs("train", utterances, [CLASSES.index(label) for label in labels], list("abcd"), records)
    lengths = torch.ones(len(LENGTHS))
    outputs = ours(means(utterances), lengths)
    mine = ours.loss(outputs, lengths, torch.stack([ours.encode(label) for label in labels]))
    torch.testing.assert_close(mine, loss, rtol=1e-5, atol=0)
    loss.backward()
    mine.backward()
    assert_same_gradients(pairs)
    said = ours.decode(outputs, lengths)
    assert records["acc"] == [float(one == label) for one, label in zip(said, labels, strict=True)]


def test_three_slots_have_the_same_loss_gradients_and_joint_decisions(reference: Reference, bare: Bare) -> None:
    values = {slot: dict(enumerate(names)) for slot, names in INTENTS.items()}
    sizes = [len(names) for names in INTENTS.values()]
    theirs = expert(reference, bare, "fluent_commands", sum(sizes), values_per_slot=sizes, Sy_intent=values)
    ours, utterances, records = PooledSlots(DIM, INTENTS), frames(), defaultdict(list)
    pairs = same_weights(ours, theirs)
    labels = [{slot: names[i % len(names)] for slot, names in INTENTS.items()} for i in (0, 1, 2, 3)]
    targets = torch.stack([ours.encode(label) for label in labels])
    loss = theirs("train", utterances, targets.tolist(), list("abcd"), records)
    lengths = torch.ones(len(LENGTHS))
    outputs = ours(means(utterances), lengths)
    mine = ours.loss(outputs, lengths, targets)
    torch.testing.assert_close(mine, loss, rtol=1e-5, atol=0)
    loss.backward()
    mine.backward()
    assert_same_gradients(pairs)
    said = ours.decode(outputs, lengths)
    assert records["predict"] == [tuple(one.values()) for one in said]
    assert records["acc"] == [float(one == label) for one, label in zip(said, labels, strict=True)]
