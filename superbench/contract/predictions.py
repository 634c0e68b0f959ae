"""What a head answers for an item, and the scores that are made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np


Setting = Mapping[str, Any]
"""A choice made without learning: `{"threshold": 0.5, "median": 11}`, `{"layer": 3}`, `{"step": 2000}`."""
Outputs = Mapping[str, Any]
"""Item id -> what `Head.decode` gave (or, for a task without a head, the stored frames (layer, time, dim))."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One line of `predictions.jsonl.gz`; `reference` and `prediction` are JSON values in the task's own notation.
    `also` holds those by other ways of decoding, by name (ASR: `lm`); empty, it is not written."""

    id: str
    fold: str
    group: tuple[str, ...]
    reference: Any
    prediction: Any
    also: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """A metric's value, the counts that it is made of, and how it moves when items are weighted differently.

    `counts` are sums over the items; `reweighted(weights)` is the value with item i (in the order of the predictions that were
    scored) counted `weights[i]` times: intervals and paired tests resample groups through it, without scoring anew.
    """

    value: float
    unit: Literal["%", "fraction"]
    higher_is_better: bool
    counts: Mapping[str, float]
    reweighted: Callable[[np.ndarray], float]
