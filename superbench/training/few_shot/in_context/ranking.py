"""Rules that rank the candidates. The first is fixed in advance as the rule of the score; the others are shown beside it.

* `pmi`: log p(label | prompt) − mean of log p(label | prompt with a content-free question), after Holtzman et al. (2021),
  "Surface form competition", arXiv 2104.08315: what the sound says for a label, without what its words say for it.
* `sum`: log p(label | prompt). `per token`, `per character`: the same, divided by the length of the label.
* `calibrated`: contextual calibration, p(label | prompt) / p(label | content-free prompt), with both normalised over the
  candidates (Zhao et al. 2021, arXiv 2102.09690, diagonal weights, the mean over the content-free questions).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, logsumexp

from superbench.training.few_shot.episodes import draw_order

PMI = "pmi"
DECIMALS = 6
"""Scores that are equal to so many places are ties, and the winner is drawn at random (seeded)."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Σ log p of every candidate after each question (question, candidate), and after its content-free variants (question,
    variant, candidate); tokens and characters of the candidates."""

    values: np.ndarray
    free: np.ndarray
    tokens: np.ndarray
    characters: np.ndarray


def ranked(scored: Scored, draw: int, fold: str) -> dict[str, np.ndarray]:
    """Returns rule -> the class (question,) that wins by it."""
    normal, free = log_softmax(scored.values, axis=-1), log_softmax(scored.free, axis=-1)
    scores = {
        PMI: scored.values - scored.free.mean(1),
        "sum": scored.values,
        "per token": scored.values / scored.tokens,
        "per character": scored.values / scored.characters,
        "calibrated": normal - (logsumexp(free, axis=1) - np.log(free.shape[1])),
    }
    return {rule: _winners(values, draw, fold) for rule, values in scores.items()}


def _winners(values: np.ndarray, draw: int, fold: str) -> np.ndarray:
    """Returns the highest of each row (question, candidate); a random one of those that are equal."""
    rounded = values.round(DECIMALS)
    orders = [draw_order(values.shape[1], draw, fold, "ties", str(row)) for row in range(len(values))]
    return np.array([order[int(rounded[row][order].argmax())] for row, order in enumerate(orders)], int)
