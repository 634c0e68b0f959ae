"""Predictions of a head for each item, and the scores that are computed from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np


Setting = Mapping[str, Any]
"""Values that are chosen, not learned: `{"threshold": 0.5, "median": 11}`, `{"layer": 3}`, `{"step": 2000}`."""
Outputs = Mapping[str, Any]
"""Item id -> output of `Head.decode` (for a task without a head: the stored frames (layer, time, dim))."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One line of `predictions.jsonl.gz`; `reference` and `prediction` are JSON values in the task's own notation
    (see `Task.predicts`).
    `also` contains the predictions of other decoders, by name (ASR: `lm`); it is not written if it is empty. `k` and `draw` are
    the number of examples and their draw, where nothing is trained (see `few_shot`); they are written only there."""

    id: str
    fold: str
    group: tuple[str, ...]
    reference: Any
    prediction: Any
    also: Mapping[str, Any] = field(default_factory=dict)
    k: int | Literal["all"] | None = None
    draw: int | None = None


@dataclass(frozen=True)
class Score:
    """A metric's value, the counts from which it is computed, and a function that computes it for other item weights.

    `counts` are sums over the items. `reweighted(weights)` returns the value with item i (in the order of the scored
    predictions) counted `weights[i]` times. Intervals and paired tests use it to resample groups without scoring again.
    `parts`: if the value is a weighted sum of numerators over one of denominators, both (item,), the unit's factor included.
    """

    value: float
    unit: Literal["%", "fraction"]
    higher_is_better: bool
    counts: Mapping[str, float]
    reweighted: Callable[[np.ndarray], float]
    parts: tuple[np.ndarray, np.ndarray] | None = None
