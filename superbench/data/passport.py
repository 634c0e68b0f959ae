"""The passport of a corpus: what was read, split by split, and how it differs from the expected corpus.

It describes the lists as a task reads them, and the files before any sound is cut or resampled. The same corpus has the same
passport in `superbench data check` and in every result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from superbench.contract import SAMPLE_RATE, Audio, Fold, Split, TaskCard
from superbench.contract.corpora import Corpora
from superbench.data.fingerprint import lists_of, splits_of
from superbench.errors import first_of
from superbench.system.records import Amount, Count, Digest, Few, Line, Many, Real, Record, Remarks


class Duration(Record):
    """Duration of the sound of a split: the total (hours), and the shortest, mean and longest utterance (seconds)."""

    hours: Amount
    shortest: Amount
    mean: Amount
    longest: Amount


class Passport(Record):
    """A description of what was read of a corpus. Results of superbench 0.1 have only the first four fields.

    `hours` of distinct sound, number of files by `sample_rates`, `trials` by split, `facts` for the scorer. `counts` of items,
    classes, groups and trials, with the keys of `TaskCard.counts`; digests of the `lists` of items and trials; `durations` by
    split; digests of further `files` that a head reads (a language model). `miniature`: origin of a miniature corpus.
    `differences` from the published counts, or from the corpus as it was written; `remarks` of the corpus reader.
    """

    hours: Amount = 0.0
    sample_rates: Few[Count] = Field(default_factory=dict)
    trials: Few[Count] = Field(default_factory=dict)
    facts: Many[Real] = Field(default_factory=dict)
    counts: Many[Count] = Field(default_factory=dict)
    lists: Many[Digest] = Field(default_factory=dict)
    durations: Few[Duration] = Field(default_factory=dict)
    files: Few[Digest] = Field(default_factory=dict)
    miniature: Line | None = None
    differences: Annotated[list[Line], Field(max_length=10_000)] = Field(default_factory=list)
    remarks: Remarks = Field(default_factory=list)


MOST_CLASSES = 20
"""Classes are counted if there are no more than this, and if a class has two items or more on average."""

Lengths = Mapping[Path, tuple[int, int]]
"""Samples and sample rate of each readable sound file."""


def passport_of(
    card: TaskCard, folds: Sequence[Fold], lengths: Lengths, corpora: Corpora, facts: Mapping[str, float] | None = None
) -> Passport:
    """Returns the passport of what a task read; `facts` are further numbers that the scorer needed."""
    splits = dict(splits_of(folds))
    audios = [item.audio for split in splits.values() for item in split.items]
    rates = Counter(lengths[path][1] for path in {audio.path for audio in audios} if path in lengths)
    counts = counts_of(folds)
    return Passport(
        hours=round(sum(_seconds(dict.fromkeys(audios), lengths)) / 3600, 4),
        sample_rates={str(rate): number for rate, number in sorted(rates.items())},
        trials={f"{fold.name}/{s.name}": len(s.trials) for fold in folds for s in (fold.dev, fold.test) if s.trials},
        facts=dict(facts or {}),
        counts=counts,
        lists=lists_of(folds),
        durations={key: duration for key, split in splits.items() if (duration := _duration(split, lengths))},
        miniature=corpora.passport.strip() or None,
        differences=differences(card, counts, lists_of(folds), corpora),
        remarks=list(dict.fromkeys(remark for fold in folds for remark in fold.remarks)),
    )


# ---------------------------------------------------------------- counts


def counts_of(folds: Sequence[Fold]) -> dict[str, int]:
    """Returns counts by split: items, items of each class (if there are few), distinct groups, and trials by reference."""
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
    """Returns the differences from the published corpus, or of a miniature from the one written: one phrase for each count."""
    if not corpora.synthetic:
        return departures(card.counts, counts)
    written = corpora.written().get(card.name, {})
    keys = dict.fromkeys([*written.get("counts", {}), *counts] if written else ())
    expected = {key: int(written.get("counts", {}).get(key, 0)) for key in keys}
    changed = [
        f"{key}: {counts.get(key, 0)} in place of {expected[key]}" for key in keys if counts.get(key, 0) != expected[key]
    ]
    changed_lists = [key for key, digest in written.get("lists", {}).items() if lists.get(key) != digest]
    return changed or [f"{key}: the list is not the one that was written" for key in changed_lists]


def departures(published: Mapping[str, int], counts: Mapping[str, int]) -> list[str]:
    """Returns the differences of counts from published counts, one phrase for each.

    >>> departures({"train": 3, "test": 2}, {"train": 3, "test": 1})
    ['test: 1 in place of 2']
    """
    return [f"{key}: {counts.get(key, 0)} in place of {n}" for key, n in published.items() if counts.get(key, 0) != n]


def notes_of(passport: Passport, card: TaskCard, *, cut: bool = False) -> list[str]:
    """Returns the notes of a result about its corpus: the origin of a miniature, one note on all differences, and each remark
    of the corpus reader. `cut`: items were left out on request (`--limit`), so differences in number say nothing."""
    damage = [] if cut else _damage(passport)
    if passport.miniature:
        return [": ".join(filter(None, [passport.miniature, card.miniature])), *damage, *passport.remarks]
    return damage + passport.remarks


def _damage(passport: Passport) -> list[str]:
    subject = (
        "the corpus is not as `superbench data synth` wrote it" if passport.miniature else "the corpus is not as published"
    )
    return [f"{subject}: {first_of(passport.differences, between='; ')}"] if passport.differences else []


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


def _seconds(audios: Iterable[Audio], lengths: Lengths) -> list[float]:
    """Returns the seconds of each segment whose file can be read."""
    seconds = []
    for audio in audios:
        if audio.path in lengths:
            samples, rate = lengths[audio.path]
            end = samples / rate if audio.end is None else min(audio.end / SAMPLE_RATE, samples / rate)
            seconds.append(max(end - audio.start / SAMPLE_RATE, 0.0))
    return seconds
