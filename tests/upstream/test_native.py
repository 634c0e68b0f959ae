"""The native upstreams keep the contract, have the published sizes, and learn."""

from __future__ import annotations

import pytest
import torch

from superbench import registry
from superbench.doctor import examine
from upstream.apc import Apc
from upstream.mockingjay import Mockingjay
from upstream.tera import Tera

NAMES = ["fbank", "fbank_no_cmvn", "mfcc", "apc:untrained", "mockingjay:untrained", "tera:untrained"]


@pytest.mark.parametrize("name", NAMES)
def test_every_check_of_the_doctor_holds(name: str) -> None:
    found = examine(registry.upstream(registry.parse(name)))
    assert [finding for finding in found.findings if not finding.holds] == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("samples", [1, 399, 400, 719, 720, 16_000])
def test_frames_follow_the_length_and_nothing_stands_beyond_them(name: str, samples: int) -> None:
    loaded = registry.upstream(registry.parse(name))
    generator = torch.Generator().manual_seed(0)
    waves = torch.randn(2, 16_000, generator=generator) * 0.1
    waves[0, samples:] = 0
    with torch.inference_mode():
        features = loaded.model(waves, torch.tensor([samples, 16_000]))
    length = int(features.lengths[0])
    assert length >= 1
    assert abs(length - round(samples / loaded.hop)) < 5
    assert not features.frames[:, 0, length:].any()


@pytest.mark.parametrize(("family", "million", "states"), [(Apc, 4.11, 3), (Tera, 21.33, 4), (Mockingjay, 85.12, 13)])
def test_base_has_the_published_number_of_weights_and_states(family: type, million: float, states: int) -> None:
    model = family(family.configs["base"])  # type: ignore[attr-defined]
    # the reconstruction head of the masked models, which nothing downstream uses, is not in the published figure
    weights = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("reconstruct"))
    assert weights / 1e6 == pytest.approx(million, rel=0.002)
    assert (model.layers, model.hop) == (states, 160)


@pytest.mark.parametrize("family", [Apc, Mockingjay, Tera])
def test_the_loss_falls(family: type) -> None:
    torch.manual_seed(0)
    model = family(family.configs["mini"])  # type: ignore[attr-defined]
    time = torch.arange(24_000) / 16_000
    waves = torch.stack([torch.sin(2 * torch.pi * (300 + 200 * i) * time * (1 + time)) * 0.1 for i in range(4)])
    waves = waves + 0.01 * torch.randn(waves.shape)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(50):
        loss = model.loss(waves, torch.full((4,), 24_000))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
