"""References to sound, and what is known of it: audio, items, trials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Audio:
    """A reference to sound: a file, what is done to it, and the piece of it that is meant.

    The file is read, averaged to mono, resampled to 16 kHz, amplified by `gain_db`, freed of silence when `trim` is set,
    and only then cut: `start` and `end` are samples of that waveform (`end=None`: to its end). `crop` is for training: a
    random piece of that many samples, drawn anew at every access, of sound that is longer; its features cannot be stored.
    """

    path: Path
    start: int = 0
    end: int | None = None
    gain_db: float = 0.0
    trim: bool = False
    crop: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One utterance (or a piece of one): a stable id, its sound, its label, and the groups it belongs to.

    `label` is whatever the task's own head and scorer understand. `group` names the speakers or the session on which
    intervals resample: items that share a group are not independent.
    """

    id: str
    audio: Audio
    label: Any
    group: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """A pair of items to be scored: `reference` is 1 for a match (same speaker; query in document), else 0."""

    left: str
    right: str
    reference: int
    group: tuple[str, ...]

    @property
    def id(self) -> str:
        """`left|right`, as it stands in the predictions file."""
        return f"{self.left}|{self.right}"
