"""Progress reports of long work, independent of how they are shown."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Receives progress, as in `advance("extract", 120, 800)`, and single messages. Calls are cheap and may be frequent."""

    def advance(self, stage: str, done: float, total: float) -> None:
        """Reports that `done` of `total` units of the stage are finished. The reporter estimates the remaining time."""
        ...

    def note(self, text: str) -> None:
        """Reports a message for the user, such as a resampled corpus or a resumed run."""
        ...


class Silence:
    """A reporter that shows nothing."""

    def advance(self, stage: str, done: float, total: float) -> None:
        """Does nothing."""

    def note(self, text: str) -> None:
        """Does nothing."""
