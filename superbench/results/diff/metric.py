"""One metric of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from superbench.results.diff.paired import Paired
from superbench.results.rows import Cell


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric on both sides; None if a side lacks it. `paired` is set if both have predictions on the same items."""

    name: str
    unit: str
    higher_is_better: bool
    a: Cell | None
    b: Cell | None
    paired: Paired | None = None
