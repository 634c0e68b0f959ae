"""Records of a corpus: references to audio, items, trials, splits and folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

SAMPLE_RATE = 16_000
"""Hz. Every task of SUPERB passes 16 kHz mono sound to the upstream."""


@dataclass(frozen=True, slots=True)
class Audio:
    """A reference to sound: a file, its preprocessing, and the segment of it that is used.

    The file is read, averaged to mono, resampled to 16 kHz, amplified by `gain_db`, and silence is removed if `trim` is
    set. Then it is cut: `start` and `end` are samples of that waveform (`end=None`: to its end). `crop` is for training: of
    longer sound, a random segment of so many samples is redrawn at each access, so its features cannot be cached.
    """

    path: Path
    start: int = 0
    end: int | None = None
    gain_db: float = 0.0
    trim: bool = False
    crop: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One utterance (or a segment of one): a stable id, its sound, its label, and its groups.

    `label` is any value that the head and the scorer of the task can read. `group` names the speakers or the session;
    confidence intervals resample groups, since items of one group are not independent.
    """

    id: str
    audio: Audio
    label: Any
    group: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """A pair of items that is scored: `reference` is 1 for a match (same speaker; query in document), else 0."""

    left: str
    right: str
    reference: int
    group: tuple[str, ...]

    @property
    def id(self) -> str:
        """The id `left|right`, as written to the predictions file."""
        return f"{self.left}|{self.right}"


@dataclass(frozen=True, slots=True)
class Split:
    """Items in corpus order, trials over them (ASV, QbE), and further numbers that the scorer needs (QbE)."""

    name: Literal["train", "dev", "test"]
    items: tuple[Item, ...]
    trials: tuple[Trial, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fold:
    """One train/dev/test division. Most tasks have one, called `all`; ER has five. A missing split has no items.
    `files` are further files that the head reads, by name (ASR: a language model); the result contains their digests. `remarks`
    inform the reader of a result about the corpus, one sentence each: changes made on reading, or unusual properties."""

    name: str
    train: Split
    dev: Split
    test: Split
    files: Mapping[str, Path] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """The three splits: train, dev, test."""
        return self.train, self.dev, self.test


def without_crops(folds: Sequence[Fold]) -> tuple[Fold, ...]:
    """Returns the folds with complete sound in place of random crops, which are redrawn at each access."""

    def complete(split: Split) -> Split:
        return replace(split, items=tuple(replace(item, audio=replace(item.audio, crop=None)) for item in split.items))

    return tuple(replace(fold, train=complete(fold.train), dev=complete(fold.dev), test=complete(fold.test)) for fold in folds)


def audios_of(folds: Sequence[Fold]) -> list[Audio]:
    """Returns the sound of all items of all splits, in order. An item that belongs to two folds appears twice."""
    return [item.audio for fold in folds for split in fold.splits for item in split.items]
