"""The passport of a corpus: what was read of it, split by split, and how that differs from what it should be.

It describes the lists as a task reads them and the files as they lie there, before anything is cut or resampled: the same
corpus has the same passport in `superbench data check` and in every result.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from superbench.contract import SAMPLE_RATE, Audio, Fold, Split, TaskCard
from superbench.corpora import Corpora
from superbench.errors import first_of
from superbench.results import Duration, Passport, Result

MOST_CLASSES = 20
"""Classes are counted where there are no more, and they are no names of single items."""

Lengths = Mapping[Path, tuple[int, int]]
"""Samples and sample rate of sound files; those that cannot be read are left out."""


def passport_of(
    card: TaskCard, folds: Sequence[Fold], lengths: Lengths, corpora: Corpora, facts: Mapping[str, float] | None = None
) -> Passport:
    """The passport of what a task read: `facts` are the numbers that its scorer needed besides."""
    splits = dict(splits_of(folds))
    audios = [item.audio for split in splits.values() for item in split.items]
    rates = Counter(lengths[path][1] for path in {audio.path for audio in audios} if path in lengths)
    found = counts_of(folds)
    return Passport(
        hours=round(sum(_seconds(dict.fromkeys(audios), lengths)) / 3600, 4),
        sample_rates={str(rate): number for rate, number in sorted(rates.items())},
        trials={f"{fold.name}/{s.name}": len(s.trials) for fold in folds for s in (fold.dev, fold.test) if s.trials},
        facts=dict(facts or {}),
        counts=found,
        lists=lists_of(folds),
        durations={key: one for key, split in splits.items() if (one := _duration(split, lengths))},
        miniature=corpora.passport.strip() or None,
        differences=differences(card, found, lists_of(folds), corpora),
    )


def splits_of(folds: Sequence[Fold]) -> Iterator[tuple[str, Split]]:
    """Splits that have items, by their names: `train`, or `fold1/train` where there are several folds."""
    for fold in folds:
        for split in (fold.train, fold.dev, fold.test):
            if split.items:
                yield (split.name if len(folds) == 1 else f"{fold.name}/{split.name}"), split


# ---------------------------------------------------------------- counts


def counts_of(folds: Sequence[Fold]) -> dict[str, int]:
    """Items of each split, of its classes (where they are few), its different groups, its trials by reference."""
    counts: dict[str, int] = {}
    for key, split in splits_of(folds):
        counts[key] = len(split.items)
        labels = Counter(item.label for item in split.items if isinstance(item.label, str))
        if len(labels) <= min(MOST_CLASSES, len(split.items) // 2):
            counts |= {f"{key}/{label}": number for label, number in sorted(labels.items())}
        counts[f"{key} groups"] = len({group for item in split.items for group in item.group})
        if split.trials:
            counts[f"{key} trials"] = len(split.trials)
            references = Counter(trial.reference for trial in split.trials)
            counts |= {f"{key} trials/{reference}": number for reference, number in sorted(references.items())}
    return counts


def differences(card: TaskCard, counts: Mapping[str, int], lists: Mapping[str, str], corpora: Corpora) -> list[str]:
    """How a corpus differs from the published one, or a miniature from the one that was written: one phrase for each count."""
    if not corpora.synthetic:
        return [f"{key}: {counts.get(key, 0)} in place of {n}" for key, n in card.counts.items() if counts.get(key, 0) != n]
    written = corpora.written().get(card.name, {})
    keys = dict.fromkeys([*written.get("counts", {}), *counts] if written else ())
    then = {key: int(written.get("counts", {}).get(key, 0)) for key in keys}
    found = [f"{key}: {counts.get(key, 0)} in place of {then[key]}" for key in keys if counts.get(key, 0) != then[key]]
    changed = [key for key, digest in written.get("lists", {}).items() if lists.get(key) != digest]
    return found or [f"{key}: the list is not the one that was written" for key in changed]


def is_miniature(result: Result) -> bool:
    """Was a result made on a synthetic miniature corpus? Passports without lists do not say; then `mini` results were."""
    passport = result.data.passport
    return bool(passport.miniature) or (result.task.protocol == "mini" and not passport.lists)


def notes_of(passport: Passport, card: TaskCard) -> list[str]:
    """What a result should say of its corpus: that it is a miniature, and which; that it is not as it should be."""
    if passport.miniature:
        return [": ".join(filter(None, [passport.miniature, card.miniature])), *_damage(passport)]
    return _damage(passport)


def _damage(passport: Passport) -> list[str]:
    what = "the corpus is not as `superbench data synth` wrote it" if passport.miniature else "the corpus is not as published"
    return [f"{what}: {first_of(passport.differences, between='; ')}"] if passport.differences else []


# ---------------------------------------------------------------- fingerprints


def lists_of(folds: Sequence[Fold]) -> dict[str, str]:
    """A digest of each split's list (ids, labels, groups in order) and of each trial list."""
    digests: dict[str, str] = {}
    for key, split in splits_of(folds):
        digests[key] = _digest([item.id, _plain(item.label), item.group] for item in split.items)
        if split.trials:
            digests[f"{key} trials"] = _digest([trial.left, trial.right, trial.reference] for trial in split.trials)
    return digests


def _digest(rows: Iterator[list[Any]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False).encode())
    return digest.hexdigest()[:16]


def _plain(label: Any) -> Any:
    """A label as JSON values; where its files lie is no part of it, and what is no plain value is left out."""
    if dataclasses.is_dataclass(label) and not isinstance(label, type):
        return [_plain(getattr(label, field.name)) for field in dataclasses.fields(label)]
    if isinstance(label, Mapping):
        return {str(key): _plain(value) for key, value in label.items()}
    if isinstance(label, (list, tuple)):
        return [_plain(value) for value in label]
    return label if isinstance(label, (str, int, float)) else None


# ---------------------------------------------------------------- durations


def _duration(split: Split, lengths: Lengths) -> Duration | None:
    seconds = _seconds([item.audio for item in split.items], lengths)
    if not seconds:
        return None
    total = sum(seconds)
    return Duration(
        hours=round(total / 3600, 4),
        shortest=round(min(seconds), 3),
        mean=round(total / len(seconds), 3),
        longest=round(max(seconds), 3),
    )


def _seconds(audios: Sequence[Audio] | Mapping[Audio, Any], lengths: Lengths) -> list[float]:
    """How long each piece is, of those whose files can be read."""
    found = []
    for audio in audios:
        if audio.path in lengths:
            samples, rate = lengths[audio.path]
            end = samples / rate if audio.end is None else min(audio.end / SAMPLE_RATE, samples / rate)
            found.append(max(end - audio.start / SAMPLE_RATE, 0.0))
    return found
