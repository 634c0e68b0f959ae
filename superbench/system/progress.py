"""How long work tells somebody how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Hears of progress: `advance("extract", 120, 800)` and single remarks. Calls are cheap and may be frequent."""

    def advance(self, stage: str, done: float, total: float) -> None:
        """`done` of `total` units of the stage are finished; the listener works out the remaining time."""
        ...

    def note(self, text: str) -> None:
        """Something that a person should know: a resampled corpus, a resumed run."""
        ...


class Silence:
    """A reporter that nobody listens to."""

    def advance(self, stage: str, done: float, total: float) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
