"""The outcome of a run, which Python and a notebook show as tables."""

from __future__ import annotations

from dataclasses import dataclass, field

from superbench.results import Result
from superbench.results.html import tables, text
from superbench.results.tables import printed
from superbench.runs.jobs import Ended, State


@dataclass(slots=True, repr=False)
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

    def __repr__(self) -> str:
        """Returns the results as the tables that `superbench report` prints, the jobs without a result, the wall time."""
        return "\n".join([*([printed(self.results)] if self.results else []), *self._below()])

    def _below(self) -> list[str]:
        lines = [f"{ended.job}: {ended.state}. {ended.message}" for ended in self.ended if ended.result is None]
        return [*lines, f"{self.seconds:.0f} s"]

    def _repr_html_(self) -> str:
        """Returns HTML for a notebook: the results as tables, the jobs without a result, the wall time."""
        below = "".join(f"<br>{text(line)}" for line in self._below())
        return (tables(self.results) if self.results else "") + below
