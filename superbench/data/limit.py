"""Cuts the splits of a corpus down to a few items, for a smoke test (`--limit N`).

The choice depends only on ids, labels and N: items in the order of a digest of their ids. A split without trials keeps every
class if N allows it, and else at least two items of each class that it keeps; classes are chosen in the same order in every
split. A split with trials (ASV, QbE) keeps sounds of matches and of other trials in turn, and all trials whose both sounds
remain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice, zip_longest

from superbench.contract import Fold, Item, Split, Trial
from superbench.data.fingerprint import plain
from superbench.errors import CommandError


def limited(folds: Sequence[Fold], limit: int | None) -> tuple[Fold, ...]:
    """Returns the folds with at most `limit` items in each split, in their order; a split of at most so many stays complete.

    Raises `CommandError` if no trial of a split would remain.
    """
    if limit is None:
        return tuple(folds)
    return tuple(
        replace(fold, train=_cut(fold.train, limit), dev=_cut(fold.dev, limit), test=_cut(fold.test, limit)) for fold in folds
    )


def is_cut(folds: Sequence[Fold], limit: int | None) -> bool:
    """Returns whether a split has more items than `limit`."""
    return limit is not None and any(len(split.items) > limit for fold in folds for split in fold.splits)


def _cut(split: Split, limit: int) -> Split:
    if len(split.items) <= limit:
        return split
    kept = _of_trials(split.trials, limit) if split.trials else _of_classes(split.items, limit)
    trials = tuple(trial for trial in split.trials if trial.left in kept and trial.right in kept)
    if split.trials and not trials:
        raise CommandError(f"--limit {limit}: a trial of the {split.name} split needs two sounds. Give --limit 2 or more.")
    return replace(split, items=tuple(item for item in split.items if item.id in kept), trials=trials)


def _of_classes(items: Sequence[Item], limit: int) -> set[str]:
    """Returns ids: of every class one item after the other; of the first classes two items each, if there are too many."""
    classes: dict[str, list[str]] = {}
    for item in items:
        classes.setdefault(json.dumps(plain(item.label), sort_keys=True), []).append(item.id)
    ordered = [sorted(classes[name], key=_digest) for name in sorted(classes, key=_digest)]
    if len(ordered) > limit:
        return set(list(chain.from_iterable(ids[:2] for ids in ordered))[:limit])
    rounds = (name for name in chain.from_iterable(zip_longest(*ordered)) if name is not None)
    return set(islice(rounds, limit))


def _of_trials(trials: Sequence[Trial], limit: int) -> set[str]:
    """Returns the ids of sounds: those of a match, of another trial, and so on, as long as they fit."""
    kept: set[str] = set()
    for trial in _in_turn(trials):
        if len(kept | {trial.left, trial.right}) <= limit:
            kept |= {trial.left, trial.right}
        if len(kept) == limit:
            break
    return kept


def _in_turn(trials: Sequence[Trial]) -> Iterator[Trial]:
    ordered = sorted(trials, key=lambda trial: _digest(trial.id))
    pairs = zip_longest((t for t in ordered if t.reference), (t for t in ordered if not t.reference))
    return (trial for trial in chain.from_iterable(pairs) if trial is not None)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
