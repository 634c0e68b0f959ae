"""A summary of a model's outputs on fixed sounds, by which a changed model is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TOLERANCE = 1e-4
"""Largest difference in a dimension of a hidden state, relative to its largest value, that counts as equal."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """A summary of a model's outputs, short enough for a result.

    `values` has two numbers for each sound and hidden state: the mean magnitude and a weighted mean. Only outputs of the same
    `setting` (device class, versions) are compared. `since` (Unix time): when they were first stored; features that are older
    were computed before any comparison.
    """

    setting: str
    values: tuple[float, ...]
    since: float = 0.0

    def facts(self) -> dict[str, Any]:
        """Returns the part of them that a result contains."""
        return {"setting": self.setting, "values": list(self.values)}

    def contradict(self, stored: Any) -> bool:
        """Returns whether these differ from the `facts` in a result; False if the result has none, or of another setting."""
        if not isinstance(stored, dict) or stored.get("setting") != self.setting:
            return False
        pairs = zip(self.values[::2], self.values[1::2], stored["values"][::2], stored["values"][1::2], strict=False)
        same_length = len(stored["values"]) == len(self.values)
        near = (max(abs(a - c), abs(b - d)) <= TOLERANCE * max(abs(a), abs(c)) for a, b, c, d in pairs)
        return not (same_length and all(near))
