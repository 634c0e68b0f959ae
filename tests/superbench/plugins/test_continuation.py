"""The doctor checks the likelihoods of a model that gives them, and says what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from superbench import Features, Likelihood, Parts, plugins
from superbench.plugins.doctor.examination import Examination, examine


class EnergyModel(nn.Module):
    """Gives no features; likelihoods fall with the energy of the sound and of the prompt."""

    sample_rate, hop, layers, dim, reads_text, only_in_context = 16_000, 320, 1, 4, False, True

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        raise RuntimeError("no features")

    def log_likelihood(self, prompts: Sequence[Parts], continuations: Sequence[Sequence[Parts]]) -> list[list[Likelihood]]:
        return [
            [self.likelihood(prompt, parts, len(prompts), len(following)) for parts in following]
            for prompt, following in zip(prompts, continuations, strict=True)
        ]

    def likelihood(self, prompt: Parts, parts: Parts, prompts: int, candidates: int) -> Likelihood:
        loud = sum(float(part.square().sum()) for part in [*prompt, *parts] if isinstance(part, Tensor))
        return Likelihood(-loud, 10, 10)


def changed(change: Callable[[float, int, int], float]) -> EnergyModel:
    class Changed(EnergyModel):
        def likelihood(self, prompt: Parts, parts: Parts, prompts: int, candidates: int) -> Likelihood:
            return Likelihood(change(super().likelihood(prompt, parts, prompts, candidates).value, prompts, candidates), 10, 10)

    return Changed()


def examined(model: Any) -> Examination:
    return examine(plugins.loaded(plugins.parse("patient"), model, "cpu"), seconds=2.0)


def test_a_model_without_features_is_healthy_if_its_likelihoods_are() -> None:
    report = examined(EnergyModel())
    assert report.healthy, report.reasons
    assert [finding.name for finding in report.findings] == [
        "features", "continues", "same continuation twice", "candidates", "shared prompt"
    ]  # fmt: skip
    assert report.findings[0].measured == "not offered: the model is for --protocol in-context alone"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda value, prompts, candidates: float("nan"), "continues: it returned Likelihood(value=nan"),
        (lambda value, prompts, candidates: 0.5, "continues: it returned Likelihood(value=0.5"),
        (lambda value, prompts, candidates: value * torch.rand(()).item(), "same continuation twice: largest relative"),
        (lambda value, prompts, candidates: value - candidates, "candidates: largest relative difference"),
        (lambda value, prompts, candidates: value * prompts, "shared prompt: largest relative difference"),
    ],
)
def test_invalid_and_batch_dependent_likelihoods_are_reported(change: Callable[[float, int, int], float], reason: str) -> None:
    report = examined(changed(change))
    assert not report.healthy
    assert any(line.startswith(reason) for line in report.reasons), report.reasons


def test_a_model_that_fails_or_returns_too_few_likelihoods_is_reported() -> None:
    class Short(EnergyModel):
        def log_likelihood(self, prompts: Any, continuations: Any) -> list[list[Likelihood]]:
            return super().log_likelihood(prompts, continuations)[:1]

    assert examined(Short()).reasons == [
        "continues: log_likelihood raised BadUpstream: it returned [2] likelihoods for 2 prompts; expected 2 for each"
    ]


def test_features_can_be_used_if_likelihoods_cannot(tones: ModuleType) -> None:
    class Both(tones.Spectrum):  # type: ignore[misc,name-defined]
        reads_text = False

        def log_likelihood(self, prompts: Any, continuations: Any) -> list[list[Likelihood]]:
            return [[Likelihood(0.5, 1, 1) for _ in following] for following in continuations]

    report = examined(Both())
    assert report.healthy
    assert [finding.name for finding in report.findings if not finding.holds] == ["continues"]
    assert "in-context evaluation and minimal pairs will refuse it" in report.actions[0]


@pytest.mark.slow
def test_speech_gpt_passes_both() -> None:
    report = examine(plugins.upstream(plugins.parse("speech_gpt:nano,untrained")), seconds=2.0)
    assert report.healthy, report.reasons
    assert all(finding.holds for finding in report.findings)
    assert {"shape", "shared prompt"} <= {finding.name for finding in report.findings}
