"""Sound and what is known of it: references to audio, items, trials, splits, folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SAMPLE_RATE = 16_000
"""Every task of SUPERB hands 16 kHz mono sound to the upstream."""


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


@dataclass(frozen=True, slots=True)
class Split:
    """Items in corpus order, the trials over them (ASV, QbE), and numbers that the scorer needs besides (QbE)."""

    name: Literal["train", "dev", "test"]
    items: tuple[Item, ...]
    trials: tuple[Trial, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fold:
    """One train/dev/test division. Most tasks have one, called `all`; ER has five. An absent split has no items.
    `files` are what else the head reads, by name (ASR: a language model); their digests stand in the result. `remarks` are what
    a reader of results should know of the corpus, a sentence each: what was changed on reading, what is no fault but odd."""

    name: str
    train: Split
    dev: Split
    test: Split
    files: Mapping[str, Path] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """Train, dev, test."""
        return self.train, self.dev, self.test


def audios_of(folds: Sequence[Fold]) -> list[Audio]:
    """The sound of all items of all splits, in order; an item that stands in two folds is there twice."""
    return [item.audio for fold in folds for split in fold.splits for item in split.items]
