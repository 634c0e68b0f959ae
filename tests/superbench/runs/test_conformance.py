"""Does a task keep the contract? It is run once; stacked heads must give the same outputs as single heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor

from downstream.shared.pooled import PooledLinear
from superbench.runs.conformance import conform


class Forgetful(PooledLinear):
    """Leaves out a bias where many are asked."""

    def stacked(self, weights: Mapping[str, Tensor], features: Tensor) -> Tensor:
        return super().stacked({**weights, "classify.bias": 0 * weights["classify.bias"]}, features)


class Doubled(PooledLinear):
    """Counts twice where many are asked."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 2 * super().losses(outputs, targets)


def with_head(tones: ModuleType, kind: Callable[..., Any]) -> Any:
    return replace(tones.TONE, head=lambda dim, fold, recipe: kind(dim, tuple(tones.PITCHES)))


@pytest.mark.parametrize(
    ("kind", "said"),
    [(PooledLinear, "PooledLinear, batched updates for the complete sweep"), (None, "NameOne")],
    ids=["stacked", "one by one"],
)
def test_a_task_that_keeps_the_contract_is_told_what_held(kind: Any, said: str, tones: ModuleType) -> None:
    found = conform(with_head(tones, kind) if kind else tones.TONE)
    assert [(one.name, one.holds) for one in found.findings] == [
        (name, True) for name in ("card", "synthesis", "reader", "head", "run")
    ]
    assert found.findings[3].measured == said


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (Forgetful, "the outputs of `stacked` differ from those of `forward`"),
        (Doubled, "the mean of `losses` differs from `loss`"),
    ],
)
def test_heads_that_answer_otherwise_at_once_are_found(kind: Any, fault: str, tones: ModuleType) -> None:
    last = conform(with_head(tones, kind)).findings[-1]
    assert (last.name, last.holds) == ("head", False)
    assert fault in last.measured
