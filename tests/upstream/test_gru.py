"""The faster GRU equals torch's: outputs, gradients, names of weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from upstream.shared.gru import Gru


def states_and_gradients(layer: nn.GRU, frames: Tensor, target: Tensor, forward: type[nn.GRU]) -> list[Tensor]:
    """States, and the gradients of the frames and of every weight."""
    layer.zero_grad()
    leaf = frames.clone().requires_grad_()
    states, last = forward.forward(layer, leaf)
    (states * target).sum().backward(retain_graph=True)
    (last * target[:, 0]).sum().backward()
    return [states, last, *(tensor.grad for tensor in (leaf, *layer.parameters()) if tensor.grad is not None)]


@pytest.mark.parametrize("time", [1, 2, 17])
def test_outputs_and_gradients_are_those_of_torch(time: int) -> None:
    torch.manual_seed(time)
    layer = Gru(5, 4).double()
    frames, target = torch.randn(3, time, 5, dtype=torch.float64), torch.randn(3, time, 4, dtype=torch.float64)
    ours, expected = states_and_gradients(layer, frames, target, Gru), states_and_gradients(layer, frames, target, nn.GRU)
    assert len(ours) == len(expected) == 7
    for tensor, reference in zip(ours, expected, strict=True):
        torch.testing.assert_close(tensor, reference, rtol=1e-12, atol=1e-12)


def test_frozen_features_come_from_torch_itself() -> None:
    layer, frames = Gru(5, 4), torch.randn(3, 17, 5)
    with torch.inference_mode():
        assert torch.equal(layer(frames)[0], nn.GRU.forward(layer, frames)[0])


def test_weights_have_the_names_of_torch() -> None:
    assert list(Gru(5, 4).state_dict()) == list(nn.GRU(5, 4).state_dict())
