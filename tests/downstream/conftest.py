"""Constructed features in place of a hidden state of a model, for tests of protocols that train nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from superbench import Episode, Fold, Item, Prediction, Setting, Task


@dataclass(frozen=True)
class ConstructedState:
    """One hidden state; a function of the item gives its frames."""

    frames: Callable[[Item], Tensor]
    hop: int = 160
    layer: int = 0

    def means(self, items: Sequence[Item]) -> Tensor:
        return torch.stack([self.frames(item).mean(0) for item in items])


Ask = Callable[..., tuple[float, list[Prediction]]]


@pytest.fixture
def ask() -> Ask:
    """`ask(task, fold, frames, K)` answers the test split; returns the primary score and the predictions."""

    def evaluate(
        task: Task, fold: Fold, frames: Callable[[Item], Tensor], shots: int | str = 0, draw: int = 0,
        setting: Setting | None = None, hop: int = 160,
    ) -> tuple[float, list[Prediction]]:  # fmt: skip
        method = task.few_shot
        assert method is not None
        chosen = [method.settings[0] if setting is None else setting]
        answers = method.answer(fold, fold.test, [Episode(shots, draw)], chosen, ConstructedState(frames, hop))  # type: ignore[arg-type]
        ((_, _, predictions),) = answers
        return task.score(predictions, fold.test.facts)[task.card.primary].value, predictions

    return evaluate
