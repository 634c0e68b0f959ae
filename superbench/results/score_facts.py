"""The record of one metric in a result."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from superbench.system.records import Amount, Few, Line, Many, Real, Record


class OverSeeds(Record):
    """A metric over several seeds: each value, their mean and standard deviation, and the 95 % interval of the mean over seeds
    and groups of items (or null) with its method."""

    values: Few[Real]
    mean: Real
    std: Amount
    ci: tuple[Real, Real] | None = None
    ci_method: Line | None = None


class ScoreFacts(Record):
    """A metric: value, unit, direction, 95 % interval (or null) and its method, and the counts from which it is computed.
    `over_seeds`: the same over all seeds, if there are several; `value` is that of the lowest."""

    value: Real
    unit: Literal["%", "fraction"]
    higher_is_better: bool
    ci: tuple[Real, Real] | None = None
    ci_method: Line | None = None
    counts: Many[Real]
    over_seeds: OverSeeds | None = None

    @model_serializer(mode="wrap")
    def _without_single_seed(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave `over_seeds` out of results of one seed, whose digests existed before it."""
        facts: dict[str, Any] = handler(self)
        if self.over_seeds is None:
            facts.pop("over_seeds", None)
        return facts
