"""The doctor finds what is wrong with a model before anything is extracted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from superbench import BadUpstream, Features, registry
from superbench.doctor import Examination, examine
from superbench.registry import Loaded


def verdict(model: object) -> tuple[Examination, dict[str, bool]]:
    found = examine(registry._loaded(registry.parse("patient"), model, "cpu"))
    return found, {finding.name: finding.holds for finding in found.findings}


def test_a_good_model_gets_a_certificate(tones: ModuleType) -> None:
    found, holds = verdict(tones.Spectrum())
    assert all(holds.values()), found.findings
    assert found.certificate()["shape"]["holds"]


def changed(tones: ModuleType, change: Callable[[nn.Module, Features], Features]) -> nn.Module:
    class Changed(tones.Spectrum):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
            return change(self, super().forward(waves, lengths))

    return Changed()


def dropout(model: nn.Module, features: Features) -> Features:
    return Features(nn.functional.dropout(features.frames, 0.5, training=True), features.lengths)


def wrong_layers(model: nn.Module, features: Features) -> Features:
    return Features(features.frames[:1], features.lengths)


def too_long(model: nn.Module, features: Features) -> Features:
    return Features(features.frames.repeat(1, 1, 2, 1), features.lengths * 2)


def nan(model: nn.Module, features: Features) -> Features:
    return Features(features.frames * float("nan"), features.lengths)


def learns(model: nn.Module, features: Features) -> Features:
    model.scale.data += 1e-3  # type: ignore[union-attr,operator]
    return features


@pytest.mark.parametrize(
    ("change", "name"),
    [(dropout, "deterministic"), (wrong_layers, "shape"), (too_long, "length"), (nan, "finite"), (learns, "frozen")],
)
def test_a_sick_model_is_refused_with_the_reason(change: Callable, name: str, tones: ModuleType) -> None:
    found, holds = verdict(changed(tones, change))
    assert not holds[name]
    with pytest.raises(BadUpstream, match=name):
        found.certificate()


def test_a_model_that_looks_at_its_batch_mates_is_found_and_run_alone(tones: ModuleType) -> None:
    def normalised(model: nn.Module, features: Features) -> Features:
        return Features(features.frames / features.frames.std(), features.lengths)

    found, holds = verdict(changed(tones, normalised))
    assert not holds["batch mates"]
    assert found.healthy
    assert not found.batches


def test_a_good_model_is_examined_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from superbench import doctor

    loaded = registry.upstream(registry.parse("fbank"))
    first = doctor.examined(loaded, "cpu", tmp_path)
    calls: list[str] = []

    def again(upstream: Loaded, device: str) -> doctor.Examination:
        calls.append(upstream.revision)
        return first

    monkeypatch.setattr(doctor, "examine", again)
    assert doctor.examined(loaded, "cpu", tmp_path) == first
    assert not calls
    doctor.examined(replace(loaded, revision="another"), "cpu", tmp_path)
    for path in tmp_path.glob("*.json"):
        path.write_text("[{")
    doctor.examined(loaded, "cpu", tmp_path)
    assert calls == ["another", loaded.revision]
