"""The pooled heads: what they compute, and that a sweep of them can be evaluated at once."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from downstream.shared.pooled import PooledLinear, PooledSlots
from superbench import BadCorpus

CLASSES = ("yes", "no", "stop")
SLOTS = {"action": ("on", "off"), "object": ("lamp", "music", "none"), "location": ("none", "kitchen")}
LABELS = [{"action": "off", "object": "none", "location": "kitchen"}, {"action": "on", "object": "lamp", "location": "none"}]


def test_the_mean_feature_is_all_that_the_head_needs() -> None:
    head = PooledLinear(8, CLASSES)
    frames = torch.randn(2, 50, 8)  # (batch, time, dim)
    mean_between = head.classify(head.project(frames).mean(1))
    assert torch.allclose(head(frames.mean(1), torch.tensor([50, 50])), mean_between, atol=1e-6)


def test_decoding_inverts_the_encoding_of_classes() -> None:
    head = PooledLinear(8, CLASSES)
    numbers = torch.stack([head.encode(label) for label in ("stop", "yes")])
    assert head.decode(torch.eye(3)[numbers], torch.ones(2)) == ["stop", "yes"]


def test_decoding_inverts_the_encoding_of_slots() -> None:
    head = PooledSlots(8, SLOTS)
    targets = torch.stack([head.encode(label) for label in LABELS])
    offsets = torch.tensor([0, 2, 5])
    logits = nn.functional.one_hot(targets + offsets, 7).sum(1).float()
    assert head.decode(logits, torch.ones(2)) == LABELS


def test_the_loss_of_slots_is_the_sum_over_the_slices() -> None:
    head = PooledSlots(8, SLOTS)
    logits, targets = torch.randn(2, 7), torch.stack([head.encode(label) for label in LABELS])
    by_hand = sum(
        -logits[:, a:b].log_softmax(-1)[range(2), targets[:, n]].mean() for n, (a, b) in enumerate([(0, 2), (2, 5), (5, 7)])
    )
    assert torch.allclose(head.loss(logits, torch.ones(2), targets), torch.as_tensor(by_hand))


@pytest.mark.parametrize(("head", "label"), [(PooledLinear(8, CLASSES), "maybe"), (PooledSlots(8, SLOTS), {"action": "maybe"})])
def test_an_unknown_label_is_an_error_that_names_it(head: PooledLinear | PooledSlots, label: object) -> None:
    with pytest.raises(BadCorpus, match="maybe"):
        head.encode(label)  # type: ignore[arg-type]


@pytest.mark.parametrize("head", [PooledLinear(8, CLASSES), PooledSlots(8, SLOTS)])
def test_a_stack_of_heads_has_the_losses_of_each(head: PooledLinear | PooledSlots) -> None:
    heads = [copy.deepcopy(head) for _ in range(3)]
    for copied in heads:
        nn.init.normal_(copied.classify.weight)
    state, _ = stack_module_state(heads)
    features, lengths = torch.randn(2, 8), torch.ones(2)
    labels = ["no", "stop"] if isinstance(head, PooledLinear) else LABELS
    targets = torch.stack([head.encode(label) for label in labels])  # type: ignore[arg-type]

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return head.loss(functional_call(head, weights, (features, lengths)), lengths, targets)

    together = torch.vmap(loss)(state)
    apart = torch.stack([copied.loss(copied(features, lengths), lengths, targets) for copied in heads])
    assert torch.allclose(together, apart)
    assert len(set(apart.tolist())) == 3
