"""Contract checks of a task: it is run once, and stacked heads must give the same outputs as single heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor

from downstream.shared.pooled import PooledLinear
from superbench.runs.conformance import conform


class MissingBias(PooledLinear):
    """Omits a bias when heads are stacked."""

    def stacked(self, weights: Mapping[str, Tensor], features: Tensor) -> Tensor:
        return super().stacked({**weights, "classify.bias": 0 * weights["classify.bias"]}, features)


class DoubledLoss(PooledLinear):
    """Doubles the loss when heads are stacked."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 2 * super().losses(outputs, targets)


def with_head(tones: ModuleType, head: Callable[..., Any]) -> Any:
    return replace(tones.TONE, head=lambda dim, fold, recipe: head(dim, tuple(tones.PITCHES)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "measured"),
    [(PooledLinear, "PooledLinear, batched updates for the complete sweep"), (None, "NameOne")],
    ids=["stacked", "one by one"],
)
def test_a_task_that_keeps_the_contract_gets_a_report(head: Any, measured: str, tones: ModuleType) -> None:
    report = conform(with_head(tones, head) if head else tones.TONE)
    assert [(finding.name, finding.holds) for finding in report.findings] == [
        (name, True) for name in ("card", "synthesis", "reader", "head", "run")
    ]
    assert report.findings[3].measured == measured


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "fault"),
    [
        (MissingBias, "the outputs of `stacked` differ from those of `forward`"),
        (DoubledLoss, "the mean of `losses` differs from `loss`"),
    ],
)
def test_stacked_heads_with_different_outputs_are_found(head: Any, fault: str, tones: ModuleType) -> None:
    last = conform(with_head(tones, head)).findings[-1]
    assert (last.name, last.holds) == ("head", False)
    assert fault in last.measured
