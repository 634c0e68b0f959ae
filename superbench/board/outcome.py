"""The outcome of submitting several bundles: one that is refused does not stop the others; the sum names all."""

from __future__ import annotations

from dataclasses import dataclass, field

from superbench.errors import Refusal, SuperbenchError

PRESENT = {"replayed", "present"}
"""Codes of refusals of what is on the board already: the same bundle, or the same results of another person."""


@dataclass
class Outcome:
    """What became of `total` bundles so far: the names of those on the board, and the refusals with their names."""

    board: str
    total: int
    accepted: list[str] = field(default_factory=list)
    refused: list[tuple[str, Refusal]] = field(default_factory=list)

    def refuse(self, name: str, error: Refusal) -> None:
        """Notes a refusal without its traceback, which would keep the bundles in memory."""
        self.refused.append((name, _again(error, str(error))))

    def require_accepted(self) -> None:
        """Raises the first refusal, with the sum of all bundles as its text; nothing if all were accepted."""
        if self.refused:
            raise _again(self.refused[0][1], f"{self.board} did not accept {len(self.refused)} of {self.total} bundles. {self}")

    def note_in(self, error: SuperbenchError) -> None:
        """Adds to the text of an error that ends the submission early what became of the bundles before."""
        done = len(self.accepted) + len(self.refused)
        if done:
            error.args = (f"{error} {self} {self.total - done} of {self.total} bundles are undecided or were not sent.",)

    def __str__(self) -> str:
        """Returns a sentence for what is on the board, and one for what is not."""
        told = f"On the board: {', '.join(self.accepted) or 'nothing new'}."
        reasons = [f"{name}: {str(why).rstrip('.')}" for name, why in self.refused]
        return f"{told} Not on the board: {'; '.join(reasons)}." if reasons else told


def _again(error: Refusal, text: str) -> Refusal:
    """Returns a refusal of the same type, code and status with another text."""
    again = type(error)(text, error.code)
    again.status = error.status
    return again
