"""SpecAug: when it acts, how far, and what it leaves alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from downstream.shared.specaug import SpecAug, blended, masks, warp


def test_evaluation_does_not_change_features() -> None:
    features = torch.randn(2, 30, 8)
    assert SpecAug().eval()(features, torch.tensor([30, 20])) is features


def test_training_warps_and_masks_valid_frames_and_keeps_padding_zero() -> None:
    torch.manual_seed(0)
    features = torch.rand(2, 60, 80) + 1.0
    features[1, 40:] = 0
    changed = SpecAug(feature_width=20, time_width=10)(features, torch.tensor([60, 40]))
    assert changed.shape == features.shape
    assert (changed[1, 40:] == 0).all()
    assert (changed[0] == 0).any()
    assert (changed[0] != 0).any()


def test_the_same_seed_gives_the_same_draws() -> None:
    features, lengths = torch.randn(2, 120, 400), torch.tensor([120, 95])
    rows = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        rows.append(SpecAug()(features, lengths))
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])


def test_the_upper_bound_of_widths_is_exclusive() -> None:
    torch.manual_seed(0)
    assert not masks(50, 100, 4, 1).any()
    widest = max(int(row.sum()) for row in masks(2_000, 100, 1, 5))
    assert widest == 4


def test_masks_are_counted_and_lie_anywhere() -> None:
    torch.manual_seed(0)
    drawn = masks(3_000, 40, 2, 6)
    assert int(drawn.sum(1).max()) == 10
    assert drawn.any(0)[:34].all()


def test_a_mask_wider_than_the_features_begins_at_the_first() -> None:
    torch.manual_seed(0)
    drawn = masks(200, 10, 1, 50)
    assert (drawn.any(1) == drawn[:, 0]).all()


def warped(frames: Tensor, length: int) -> Tensor:
    """(time, dim), of which `length` are an utterance, warped."""
    return blended(frames[None], *warp(torch.tensor([length]), len(frames), 5))[0]


def test_short_utterances_are_not_warped() -> None:
    frames = torch.randn(10, 3)
    assert torch.equal(warped(frames, 10), frames)


def test_a_warp_makes_padding_zero_and_reads_none_of_it() -> None:
    frames = torch.ones(40, 2)
    frames[30:] = math.nan
    changed = warped(frames, 30)
    assert not changed[30:].any()
    assert changed[:30].isfinite().all()


def test_a_warp_changes_a_ramp_little_and_a_constant_not_at_all() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(100.0)[:, None]
    moves = []
    for _ in range(50):
        changed = warped(torch.cat([ramp, torch.ones(100, 1)], dim=1), 100)
        torch.testing.assert_close(changed[:, 1], torch.ones(100))
        moves.append((changed[:, :1] - ramp).abs().max())
    assert 0 < max(moves) < 8


@pytest.mark.slow
def test_the_gradient_of_the_warp_is_exact() -> None:
    torch.manual_seed(0)
    frames = torch.randn(2, 20, 3, dtype=torch.float64, requires_grad=True)
    rows, shares = warp(torch.tensor([20, 16]), 20, 5)
    assert torch.autograd.gradcheck(lambda inputs: blended(inputs, rows, shares), frames)
