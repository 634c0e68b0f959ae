"""The outcome of a run, which a notebook shows as tables."""

from __future__ import annotations

from dataclasses import dataclass, field

from superbench.results import Result
from superbench.results.html import tables, text
from superbench.runs.jobs import Ended, State


@dataclass(slots=True)
class Report:
    """The outcome of a run: its jobs, and its wall time in seconds."""

    ended: list[Ended] = field(default_factory=list)
    seconds: float = 0.0

    def of(self, *states: State) -> list[Ended]:
        """Returns the jobs that ended in one of `states`."""
        return [ended for ended in self.ended if ended.state in states]

    @property
    def results(self) -> list[Result]:
        """All results, new and earlier ones."""
        return [ended.result for ended in self.ended if ended.result is not None]

    def _repr_html_(self) -> str:
        """Returns HTML for a notebook: the results as tables, the jobs without a result, the wall time."""
        lines = [f"{ended.job}: {ended.state}. {ended.message}" for ended in self.ended if ended.result is None]
        below = "".join(f"<br>{text(line)}" for line in [*lines, f"{self.seconds:.0f} s"])
        return (tables(self.results) if self.results else "") + below
