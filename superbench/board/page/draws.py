"""What the scores of a column do when its test items are resampled, all rows by the same draws, in little room.

Because every row sees the same draws, the spread of the difference between two rows is the spread of the differences of their
draws: the page compares any two rows without their predictions.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from superbench.results.intervals import Replicates

NUMBERS = 1_000_000
"""Draws that a page holds of all its rows and columns; each takes 2 bytes, 2.7 as text."""

FEWEST = 100
STEPS = 65_534
"""A draw is kept as a whole number of steps between the least and the greatest; one more stands for "no value"."""


def share(cells: int) -> int:
    """Draws that each of so many cells may have.

    >>> share(44), share(5_500)
    (22727, 181)
    """
    return max(FEWEST, NUMBERS // max(1, cells))


def column(rows: Mapping[int, Replicates], most: int) -> dict[str, Any] | None:
    """A column's draws as the page reads them, each row's by its place in the table; None where nothing can be said.

    Only rows of the same design as most; of a bootstrap at most `most` draws. `folds` (jackknife only) is that of each draw;
    `scale` is G / (G - 1), which the variance of a bootstrap's draws lacks; `quantile` times the standard error is half of a
    95 % interval (Student's t on the groups' degrees of freedom).
    """
    if len(rows) < 2:
        return None
    usual = Counter(one.design for one in rows.values()).most_common(1)[0][0]
    kept = {place: one for place, one in rows.items() if one.design == usual}
    first = next(iter(kept.values()))
    if len(kept) < 2 or first.freedom < 1:
        return None
    folds = [] if first.folds is None else [int(fold) for fold in first.folds]
    quantile, scale = float(special.stdtrit(first.freedom, 0.975)), first.groups / (first.groups - 1)
    drawn = {str(place): packed(one.values if folds else one.values[:most]) for place, one in kept.items()}
    return {"folds": folds, "quantile": quantile, "scale": scale, "rows": drawn}


def packed(values: np.ndarray) -> dict[str, Any]:
    """Values as text: least, greatest, and 16 bits each between them, little end first, in base64.

    >>> packed(np.array([1.0, 3.0, float("nan")]))
    {'lo': 1.0, 'hi': 3.0, 'steps': 'AAD+////'}
    """
    known = np.isfinite(values)
    finite = values[known]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    steps = np.full(len(values), STEPS + 1, "<u2")
    steps[known] = np.rint((finite - low) / ((high - low) or 1.0) * STEPS).astype("<u2")
    return {"lo": low, "hi": high, "steps": base64.b64encode(steps.tobytes()).decode()}
