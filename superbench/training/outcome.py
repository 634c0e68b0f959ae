"""What an experiment returns, whether it trains heads or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from superbench.contract import Prediction, Score
from superbench.results.draws import Drawn


@dataclass(slots=True)
class Outcome:
    """The outcome of an experiment: all points of the sweep, the choice per fold, test predictions and their scores. `learning`
    has a row for every evaluation of a probe, with its training loss and dev value. With several seeds, `by_seed` has the test
    predictions and scores of each; those of the lowest are `predictions` and `scores`.

    Where nothing is trained, `shots` has an entry for each number of examples, `chosen` one for each of them, and `drawn` the
    scores of the draws, by metric, of the largest number; `scores` are their means."""

    sweep: list[dict[str, Any]] = field(default_factory=list)
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    predictions: list[Prediction] = field(default_factory=list)
    scores: dict[str, Score] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    layer_weights: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    learning: list[dict[str, Any]] = field(default_factory=list)
    shots: list[dict[str, Any]] = field(default_factory=list)
    by_seed: dict[int, tuple[list[Prediction], dict[str, Score]]] = field(default_factory=dict)
    drawn: dict[str, Drawn] = field(default_factory=dict)
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
