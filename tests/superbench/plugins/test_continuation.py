"""The doctor asks a model that continues for likelihoods, and says what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from superbench import Features, Likelihood, Parts, plugins
from superbench.plugins.doctor.examination import Examination, examine


class Speaker(nn.Module):
    """Gives no features; how likely a sound is, is told by how loud it is, and how loud the prompt."""

    sample_rate, hop, layers, dim, reads_text, only_in_context = 16_000, 320, 1, 4, False, True

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        raise RuntimeError("no features")

    def log_likelihood(self, prompts: Sequence[Parts], continuations: Sequence[Sequence[Parts]]) -> list[list[Likelihood]]:
        return [
            [self.one(prompt, parts, len(prompts), len(following)) for parts in following]
            for prompt, following in zip(prompts, continuations, strict=True)
        ]

    def one(self, prompt: Parts, parts: Parts, prompts: int, candidates: int) -> Likelihood:
        loud = sum(float(part.square().sum()) for part in [*prompt, *parts] if isinstance(part, Tensor))
        return Likelihood(-loud, 10, 10)


def changed(one: Callable[[float, int, int], float]) -> Speaker:
    class Changed(Speaker):
        def one(self, prompt: Parts, parts: Parts, prompts: int, candidates: int) -> Likelihood:
            return Likelihood(one(super().one(prompt, parts, prompts, candidates).value, prompts, candidates), 10, 10)

    return Changed()


def examined(model: Any) -> Examination:
    return examine(plugins.loaded(plugins.parse("patient"), model, "cpu"), seconds=2.0)


def test_a_model_without_features_is_healthy_by_what_it_promises() -> None:
    found = examined(Speaker())
    assert found.healthy, found.reasons
    assert [finding.name for finding in found.findings] == [
        "features", "continues", "same continuation twice", "candidates", "shared prompt"
    ]  # fmt: skip
    assert found.findings[0].measured == "not offered: the model is for --protocol in-context alone"


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (lambda value, prompts, candidates: float("nan"), "continues: it returned Likelihood(value=nan"),
        (lambda value, prompts, candidates: 0.5, "continues: it returned Likelihood(value=0.5"),
        (lambda value, prompts, candidates: value * torch.rand(()).item(), "same continuation twice: largest relative"),
        (lambda value, prompts, candidates: value - candidates, "candidates: largest relative difference"),
        (lambda value, prompts, candidates: value * prompts, "shared prompt: largest relative difference"),
    ],
)
def test_likelihoods_that_are_none_or_depend_on_their_mates_are_a_reason(
    one: Callable[[float, int, int], float], reason: str
) -> None:
    found = examined(changed(one))
    assert not found.healthy
    assert any(line.startswith(reason) for line in found.reasons), found.reasons


def test_a_model_that_fails_or_answers_too_little_is_told_why() -> None:
    class Short(Speaker):
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

    found = examined(Both())
    assert found.healthy
    assert [finding.name for finding in found.findings if not finding.holds] == ["continues"]
    assert "in-context evaluation and minimal pairs will refuse it" in found.actions[0]


def test_speech_gpt_passes_both() -> None:
    found = examine(plugins.upstream(plugins.parse("speech_gpt:nano,untrained")), seconds=2.0)
    assert found.healthy, found.reasons
    assert all(finding.holds for finding in found.findings)
    assert {"shape", "shared prompt"} <= {finding.name for finding in found.findings}
