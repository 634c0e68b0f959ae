"""Draws: the scores of a column under resampling of its test items, the same resamples for all rows, in compact form.

All rows use the same resamples. The spread of the difference between two rows is therefore the spread of the differences of
their draws, so the page can compare any two rows without their predictions.
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
"""Draws on a page, of all rows and columns together; each takes 2 bytes, 2.7 as text."""

FEWEST = 100
STEPS = 65_534
"""A draw is stored as an integer number of steps between the least and the greatest draw; `STEPS + 1` means "no value"."""


def share(cells: int) -> int:
    """Returns the number of draws for each cell if a page has this number of cells.

    >>> share(44), share(5_500)
    (22727, 181)
    """
    return max(FEWEST, NUMBERS // max(1, cells))


def column(rows: Mapping[int, Replicates], most: int) -> dict[str, Any] | None:
    """Returns a column's draws for the page, by the index of the row in the table; None if no rows can be compared.

    Contains only rows with the most common design, and at most `most` draws of a bootstrap. `folds`
    (jackknife only) is the fold of each draw;
    `scale` is G / (G - 1), which the variance of a bootstrap's draws lacks; `quantile` times the standard error is half of a
    95 % interval (Student's t on the groups' degrees of freedom).
    """
    if len(rows) < 2:
        return None
    usual = Counter(replicate.design for replicate in rows.values()).most_common(1)[0][0]
    kept = {place: replicate for place, replicate in rows.items() if replicate.design == usual}
    first = next(iter(kept.values()))
    if len(kept) < 2 or first.freedom < 1:
        return None
    folds = [] if first.folds is None else [int(fold) for fold in first.folds]
    quantile, scale = float(special.stdtrit(first.freedom, 0.975)), first.groups / (first.groups - 1)
    drawn = {str(place): packed(kept_row.values if folds else kept_row.values[:most]) for place, kept_row in kept.items()}
    return {"folds": folds, "quantile": quantile, "scale": scale, "rows": drawn}


def packed(values: np.ndarray) -> dict[str, Any]:
    """Returns values as text: the least, the greatest, and 16-bit steps between them (little-endian, in base64).

    >>> packed(np.array([1.0, 3.0, float("nan")]))
    {'lo': 1.0, 'hi': 3.0, 'steps': 'AAD+////'}
    """
    known = np.isfinite(values)
    finite = values[known]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    steps = np.full(len(values), STEPS + 1, "<u2")
    steps[known] = np.rint((finite - low) / ((high - low) or 1.0) * STEPS).astype("<u2")
    return {"lo": low, "hi": high, "steps": base64.b64encode(steps.tobytes()).decode()}
