"""SpecAug: when it acts, how far, and what it leaves alone."""

from __future__ import annotations

import torch

from downstream.shared.specaug import SpecAug, masks, warp


def test_evaluation_leaves_features_alone() -> None:
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


def test_short_utterances_are_not_warped() -> None:
    frames = torch.randn(10, 3)
    assert torch.equal(warp(10, 10, 5) @ frames, frames)


def test_a_warp_makes_padding_zero_and_reads_none_of_it() -> None:
    matrix = warp(30, 40, 5)
    assert not matrix[30:].any()
    assert not matrix[:, 30:].any()


def test_a_warp_moves_a_ramp_by_little_and_keeps_what_is_constant() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(100.0)[:, None]
    moves = []
    for _ in range(50):
        matrix = warp(100, 100, 5)
        torch.testing.assert_close(matrix.sum(1), torch.ones(100))
        moves.append((matrix @ ramp - ramp).abs().max())
    assert 0 < max(moves) < 8
