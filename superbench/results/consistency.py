"""Compares the passport of a result with itself, with the sizes of the splits, and with the predictions.

Published counts are public, and can be copied into a passport. A copy then contradicts what the passport says elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from superbench.contract import Prediction
from superbench.data.passport import Duration, Passport
from superbench.results.result import Result

LEAST_TRAINED = 0.5
"""ASV trains on utterances longer than a bound; at least this share of a training split remains."""
ROUNDED_HOURS, ROUNDED_SECONDS = 0.5e-4, 0.5e-3
"""Largest errors of rounding in a passport."""


def self_contradictions(result: Result) -> list[str]:
    """Return where the passport of a result contradicts itself or the numbers of items that were used."""
    passport = result.data.passport
    splits = _splits(passport.counts)
    found = [line for split in splits for line in (*_parts(split, passport), *_used(split, result))]
    found += [line for split, duration in passport.durations.items() for line in _duration(split, duration, passport.counts)]
    return found + _hours(passport)


def contradictions(result: Result, predictions: Sequence[Prediction]) -> list[str]:
    """Return where the passport's counts of the test split differ from the predictions: items or trials, in total and per class
    of the references, and groups."""
    passport, folds = result.data.passport, sorted({prediction.fold for prediction in predictions})
    differing = []
    for fold in folds:
        key = "test" if len(folds) == 1 else f"{fold}/test"
        of_fold = [prediction for prediction in predictions if prediction.fold == fold]
        trials = bool(passport.trials.get(f"{fold}/test"))
        differing += _unlike(passport.counts, f"{key} trials" if trials else key, of_fold)
        differing += _groups(passport.counts.get(f"{key} groups"), key, of_fold, trials)
    return differing


def _unlike(counts: Mapping[str, int], what: str, predictions: Sequence[Prediction]) -> list[str]:
    classes = Counter(str(prediction.reference) for prediction in predictions)
    predicted = {what: len(predictions)} | {
        key: classes[key.removeprefix(f"{what}/")] for key in counts if key.startswith(f"{what}/")
    }
    return [
        f"its passport counts {counts[key]} of {key}, its predictions {number}"
        for key, number in predicted.items()
        if counts.get(key, number) != number
    ]


def _groups(counted: int | None, key: str, predictions: Sequence[Prediction], trials: bool) -> list[str]:
    """Compares the number of groups. Trials may have groups for some of their items only (QbE: the queries)."""
    found = len({group for prediction in predictions for group in prediction.group})
    fits = counted is None or (found <= counted if trials else found == counted)
    return [] if fits else [f"its passport counts {counted} {key} groups, its predictions have {found}"]


# ---------------------------------------------------------------- within a passport


def _splits(counts: Mapping[str, int]) -> list[str]:
    """Return the splits that are counted: `train`, `fold1/test`."""
    return [key for key in counts if key.rpartition("/")[2] in ("train", "dev", "test")]


def _parts(split: str, passport: Passport) -> Iterator[str]:
    """Yield classes that sum to more than their split, trials that are not as many as their kinds, and groups without items."""
    counts, trials = passport.counts, f"{split} trials"
    for whole in (split, trials):
        parts = sum(number for key, number in counts.items() if key.startswith(f"{whole}/"))
        if parts > counts.get(whole, 0):
            yield f"its passport counts {counts.get(whole, 0)} of {whole}, and {parts} in the parts of it"
    groups = counts.get(f"{split} groups", 0)
    if groups > 0 and not counts[split]:
        yield f"its passport counts {groups} groups of {split}, which has no items"
    name = split if "/" in split else f"all/{split}"
    if trials in counts and passport.trials.get(name) != counts[trials]:
        yield f"its passport counts {counts[trials]} of {trials}, and lists {passport.trials.get(name, 0)}"


def _used(split: str, result: Result) -> Iterator[str]:
    """Yield splits of which fewer items were used than the corpus has; recordings may be cut into several items."""
    counted, used = result.data.passport.counts[split], result.data.items.get(split)
    least = counted * (LEAST_TRAINED if split.endswith("train") else 1)
    if used is not None and used < least:
        yield f"its passport counts {counted} of {split}, of which only {used} were used"


def _duration(split: str, duration: Duration, counts: Mapping[str, int]) -> Iterator[str]:
    if not duration.shortest <= duration.mean <= duration.longest:
        yield f"the mean duration of {split} ({duration.mean:g} s) is not between the shortest and the longest"
    items = counts.get(split)
    if items is None:
        return
    hours = items * duration.mean / 3600
    if abs(hours - duration.hours) > ROUNDED_HOURS + items * ROUNDED_SECONDS / 3600 + 1e-9:
        yield f"{items} items of {split} of {duration.mean:g} s are {hours:.4f} h; its passport says {duration.hours:g} h"


def _hours(passport: Passport) -> list[str]:
    """Compares the hours of distinct sound with those of all splits."""
    splits = sum(duration.hours for duration in passport.durations.values())
    most = splits + ROUNDED_HOURS * (len(passport.durations) + 1) + 1e-9
    if not passport.durations or passport.hours <= most:
        return []
    return [f"its passport says {passport.hours:g} hours of sound, and {splits:g} in all splits together"]
