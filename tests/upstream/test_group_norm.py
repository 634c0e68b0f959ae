"""Group normalisation over valid frames: equal to torch's without padding, and independent of padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from upstream.shared.group_norm import Front, ValidGroupNorm


class Block(nn.Module):
    def __init__(self, channels: int, kernel: int, stride: int, norm: nn.Module | None) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, 8, kernel, stride)
        self.layer_norm = norm

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return torch.relu(x if self.layer_norm is None else self.layer_norm(x))


@pytest.fixture
def blocks() -> nn.ModuleList:
    torch.manual_seed(0)
    norm = nn.GroupNorm(8, 8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return nn.ModuleList([Block(1, 10, 5, norm), Block(8, 3, 2, None), Block(8, 2, 2, None)])


def through(blocks: nn.ModuleList, waves: Tensor) -> Tensor:
    x = waves[:, None]
    for block in blocks:
        x = block(x)
    return x


@pytest.mark.parametrize("groups", [1, 2, 8])
@torch.no_grad()
def test_without_padding_it_is_group_norm(groups: int) -> None:
    torch.manual_seed(0)
    plain, valid = nn.GroupNorm(groups, 8), ValidGroupNorm(groups, 8)
    nn.init.normal_(plain.weight)
    valid.load_state_dict(plain.state_dict())
    x = torch.randn(3, 8, 50) + 2
    assert torch.equal(valid(x), plain(x))
    valid.valid = torch.tensor([50, 50, 50])
    assert torch.allclose(valid(x), plain(x), atol=1e-5)
    valid.valid = torch.tensor([20, 50, 1])
    assert torch.allclose(valid(x)[0, :, :20], plain(x[:1, :, :20])[0], atol=1e-5)


def test_a_single_valid_frame_stays_finite() -> None:
    norm = ValidGroupNorm(8, 8)
    norm.valid = torch.tensor([1, 0])
    assert torch.isfinite(norm(torch.randn(2, 8, 5))).all()


@torch.no_grad()
def test_padding_changes_no_valid_frame(blocks: nn.ModuleList) -> None:
    waves, lengths = torch.randn(2, 900), torch.tensor([300, 900])
    waves[0, 300:] = 0
    plain = through(blocks, waves[:1, :300])
    unmasked = through(blocks, waves)
    front = Front(blocks)
    with front.only_valid(lengths):
        masked = through(blocks, waves)
    frames = front.frames(lengths).tolist()
    assert frames == [plain.shape[2], masked.shape[2]]
    assert torch.allclose(masked[0, :, : frames[0]], plain[0], atol=1e-5)
    assert torch.allclose(masked[1], unmasked[1], atol=1e-5)
    assert not torch.allclose(unmasked[0, :, : frames[0]], plain[0], atol=1e-2)  # plain group normalisation depends on padding


def test_the_mask_is_removed_after_an_error(blocks: nn.ModuleList) -> None:
    front = Front(blocks)
    with pytest.raises(RuntimeError), front.only_valid(torch.tensor([300])):
        raise RuntimeError
    assert front.norm is not None
    assert front.norm.valid is None


def test_names_of_weights_do_not_change(blocks: nn.ModuleList) -> None:
    before = blocks.state_dict()
    Front(blocks)
    assert list(blocks.state_dict()) == list(before)
    assert all(torch.equal(before[name], tensor) for name, tensor in blocks.state_dict().items())


@torch.no_grad()
def test_hop_window_and_frames_are_those_of_the_convolutions(blocks: nn.ModuleList) -> None:
    front = Front(blocks)
    assert front.hop == 20
    assert front.frames(torch.tensor([front.window, front.window - 1, 3])).tolist() == [1, 0, 0]
    for samples in (front.window, 99, 100, 101, 500):
        assert int(front.frames(torch.tensor(samples))) == through(blocks, torch.randn(1, samples)).shape[2]


def test_short_sounds_are_padded_to_one_window_and_surplus_padding_is_removed(blocks: nn.ModuleList) -> None:
    front = Front(blocks)
    waves, lengths = front.fitted(torch.ones(1, 3), torch.tensor([3]))
    assert (waves.shape[1], lengths.tolist()) == (front.window, [front.window])
    assert float(waves.sum()) == 3
    assert front.fitted(torch.ones(2, 500), torch.tensor([200, 300]))[0].shape == (2, 300)
