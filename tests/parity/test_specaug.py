"""SpecAug: `s3prl.downstream.specaug`.

Ours draws in the order of the source, so one seed gives both the same warp and masks on a CPU: nothing need be compared by
distribution. The source runs in double precision, since in single precision its own warp is off by what `interpolate` rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from downstream.shared.specaug import SpecAug, blended, warp

Reference = Callable[[str], Any]
NUMBERS = {
    "adaptive": False, "adaptive_number_ratio": 0.04, "adaptive_size_ratio": 0.04, "max_n_time_masks": 20,
    "apply_time_warp": True, "apply_time_mask": True, "apply_freq_mask": True, "time_warp_window": 5,
    "time_mask_width_range": [0, 40], "freq_mask_width_range": [0, 50], "num_freq_mask": 4, "num_time_mask": 2,
}  # fmt: skip
"""The block `specaug` of the recipes of ASR and SF (protocol.md 2.2)."""


def theirs(reference: Reference) -> Any:
    return reference("downstream.specaug").SpecAug(**NUMBERS)


@pytest.mark.parametrize("learning", [False, True], ids=["features", "features with gradients"])
@pytest.mark.parametrize("lengths", [(120, 95, 60), (40, 9, 11, 12), (700,), (3,)])
@pytest.mark.parametrize("dim", [39, 80, 768])
def test_one_seed_gives_the_same_features(reference: Reference, lengths: tuple[int, ...], dim: int, learning: bool) -> None:
    augment = theirs(reference)
    for seed in range(5):
        utterances = [torch.randn(length, dim, dtype=torch.float64) for length in lengths]
        padded = torch.nn.utils.rnn.pad_sequence(utterances, batch_first=True).requires_grad_(learning)
        torch.manual_seed(seed)
        expected, _ = augment([one.clone().requires_grad_(learning) for one in utterances])
        for features, bounds in ((padded, (1e-10, 1e-12)), (padded.float(), (1e-5, 1e-6))):
            torch.manual_seed(seed)
            changed = SpecAug().train()(features, torch.tensor(lengths))
            assert not changed[0].isnan().any()
            for mine, other in zip(changed, expected, strict=True):
                torch.testing.assert_close(mine[: len(other)], other.to(mine.dtype), rtol=bounds[0], atol=bounds[1])


@pytest.mark.parametrize(("center", "moved"), [(5, 1), (5, 10), (30, 26), (30, 35), (54, 50), (54, 59)])
def test_a_warp_with_given_numbers_is_the_same(
    reference: Reference, center: int, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The least and the greatest draws of a warp of 60 frames: `moved - 1` is what the second draw gives."""
    frames = torch.randn(60, 7, dtype=torch.float64)
    bounds = []
    answers = iter([center, moved - 1] * 2)

    def draw(low: int, high: int, size: tuple[int, ...]) -> Tensor:
        bounds.append((int(low), int(high)))
        return torch.full(size, next(answers))

    theirs = reference("downstream.specaug").TimeWarp(window=5)
    monkeypatch.setattr(torch, "randint", draw)
    mine, other = blended(frames[None], *warp(torch.tensor([60]), 60, 5))[0], theirs.time_warp(frames.clone()[None])[0]
    torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)
    assert bounds[:2] == bounds[2:] == [(5, 55), (center - 5, center + 5)]
