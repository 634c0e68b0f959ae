"""Models at other sampling rates than 16 kHz get sound at theirs; everything else stays in samples at 16 kHz."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from superbench import Features, plugins
from superbench.errors import BrokenPlugin
from superbench.plugins.doctor.examination import examine


class Powers(nn.Module):
    """The power of each frame of `hop` samples, in four parts, and its logarithm."""

    layers, dim = 2, 4

    def __init__(self, rate: int, hop: int) -> None:
        super().__init__()
        self.sample_rate, self.hop = rate, hop
        self.weight = nn.Parameter(torch.ones(4))
        self.heard: list[tuple[int, ...]] = []

    def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
        self.heard.append((waves.shape[1], *lengths.tolist()))
        padded = nn.functional.pad(waves, (0, self.hop - 1))
        power = padded.unfold(1, self.hop, self.hop).unflatten(-1, (4, -1)).square().mean(-1) * self.weight
        return Features(torch.stack([power, power.add(1e-4).log()]), (lengths + self.hop - 1) // self.hop)


def loaded(rate: int, hop: int, **more: Any) -> plugins.Loaded:
    return plugins.loaded(plugins.parse("powers"), Powers(rate, hop), "cpu", **more)


@pytest.mark.parametrize(
    ("rate", "hop", "expected"),
    [(24_000, 480, 320), (48_000, 960, 320), (8_000, 160, 320), (24_000, 320, 213), (44_100, 512, 186)],
)
def test_a_model_at_another_rate_keeps_the_contract(rate: int, hop: int, expected: int) -> None:
    upstream = loaded(rate, hop)
    assert upstream.hop == expected
    found = examine(upstream, seconds=12.0)
    assert found.healthy, found.reasons
    assert found.batching == "any"
    assert next(one for one in found.findings if one.name == "alignment").holds


def test_the_sound_has_the_rate_and_length_of_the_model() -> None:
    upstream = loaded(24_000, 480)
    time = torch.arange(16_000) / 16_000
    features = upstream.model(torch.sin(2 * torch.pi * 440 * time)[None], torch.tensor([16_000]))
    assert upstream.model.model.heard == [(24_000, 24_000)]
    assert features.frames.shape == (2, 1, 50, 4)
    assert features.frames[0, 0, 2:-2].mean().item() == pytest.approx(0.5, abs=0.01)


def test_frames_of_a_broken_hop_stay_at_their_time() -> None:
    upstream = loaded(24_000, 320)  # 75 frames per second, which are 213.33 samples at 16 kHz
    wave = torch.zeros(1, 160_000)
    wave[0, 144_000:144_100] = 1.0  # at 9 s
    features = upstream.model(wave, torch.tensor([160_000]))
    assert abs(int(features.frames[0, 0].sum(1).argmax()) * upstream.hop - 144_000) <= upstream.hop
    assert abs(int(features.lengths[0]) - round(160_000 / 213)) <= 1


def test_the_rate_is_part_of_the_revision() -> None:
    revisions = {loaded(rate, 480).revision for rate in (16_000, 24_000, 48_000)}
    assert len(revisions) == 3


@pytest.mark.parametrize("rate", [15_991, 100, 1_000_000])
def test_a_rate_that_no_recording_has_is_refused(rate: int) -> None:
    with pytest.raises(BrokenPlugin, match=f"sample rate of {rate} Hz"):
        loaded(rate, 480)
