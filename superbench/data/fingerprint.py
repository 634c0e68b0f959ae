"""Identity of the data behind a result: one digest of everything that the task read, and digests of the parts by split."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from superbench.contract import Audio, Fold, Item, Split
from superbench.errors import BrokenPlugin

Digests = Mapping[Path, str]
"""Sound file -> digest of its bytes."""


def fingerprint_of(folds: Sequence[Fold], sounds: Digests, passport: str = "") -> str:
    """Returns the digest of the data that a task read, before any step that depends on a model's frame rate.

    It covers, in order, the facts of every split, every item (id, label, groups, bytes of its sound, segment) and every trial
    with its reference and groups. `passport` distinguishes synthetic corpora of different seeds. Raises `BrokenPlugin` for a
    label whose content cannot be read.
    """
    digest = hashlib.sha256(passport.encode())
    for fold in folds:
        for split in fold.splits:
            head = [fold.name, split.name, len(split.items), len(split.trials), plain(split.facts)]
            _add(digest, head)
            for item in split.items:
                _add(digest, [item.id, plain(item.label), item.group, sounds[item.audio.path], _piece(item.audio)])
            for trial in split.trials:
                _add(digest, [trial.left, trial.right, trial.reference, trial.group])
    return digest.hexdigest()[:16]


def lists_of(folds: Sequence[Fold]) -> dict[str, str]:
    """Returns a digest of each split's list (ids, labels, groups in order) and of each trial list."""
    digests: dict[str, str] = {}
    for key, split in splits_of(folds):
        digests[key] = _digest([item.id, plain(item.label), item.group] for item in split.items)
        if split.trials:
            digests[f"{key} trials"] = _digest([trial.left, trial.right, trial.reference] for trial in split.trials)
    return digests


def sounds_of(folds: Sequence[Fold], sounds: Digests) -> dict[str, str]:
    """Returns a digest of each split's sound, in the order of its items."""
    return {
        key: _digest([sounds[item.audio.path], _piece(item.audio)] for item in split.items) for key, split in splits_of(folds)
    }


def splits_of(folds: Sequence[Fold]) -> Iterator[tuple[str, Split]]:
    """Yields the splits that have items, with their names: `train`, or `fold1/train` if there are several folds."""
    for fold in folds:
        for split in fold.splits:
            if split.items:
                yield (split.name if len(folds) == 1 else f"{fold.name}/{split.name}"), split


def plain(value: Any) -> Any:
    """Returns a label as JSON values with its complete content. A path becomes its file name, since folders may differ.

    Raises `BrokenPlugin` for an object without readable content (no plain value, collection, dataclass, array or attributes).
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [plain(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(inner) for inner in value), key=repr)
    if callable(getattr(value, "tolist", None)):  # arrays and tensors, and their numbers
        return plain(value.tolist())
    if isinstance(value, Collection):
        return [plain(inner) for inner in value]
    return _attributes(value)


def _attributes(value: Any) -> Any:
    if hasattr(value, "__dict__") and vars(value) and not callable(value):
        return [type(value).__qualname__, plain(vars(value))]
    text = repr(value)
    if " at 0x" in text:
        raise BrokenPlugin(
            f"A label is {text}, whose content cannot be read, so that a result could not identify its data. "
            "Use text, numbers, lists, mappings or dataclasses of these."
        )
    return [type(value).__qualname__, text]


def _piece(audio: Audio) -> list[Any]:
    return [audio.start, audio.end, audio.gain_db, audio.trim, audio.crop]


def _digest(rows: Iterable[list[Any]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        _add(digest, row)
    return digest.hexdigest()[:16]


def _add(digest: Any, row: list[Any]) -> None:
    digest.update(json.dumps(row, ensure_ascii=False).encode(errors="surrogatepass"))


def files_of(folds: Sequence[Fold]) -> dict[str, str]:
    """Returns digests of the further files that heads read, by role and name. They are not part of the fingerprint, since
    they do not change the test data."""
    digests = {}
    for fold in folds:
        for role, path in fold.files.items():
            with path.open("rb") as file:
                digests[f"{role} {path.name}"] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return digests


def paths_of(folds: Sequence[Fold]) -> list[Path]:
    """Returns the sound files of all splits, each once, in order."""
    return list(dict.fromkeys(item.audio.path for item in _items(folds)))


def _items(folds: Sequence[Fold]) -> Iterator[Item]:
    return (item for fold in folds for split in fold.splits for item in split.items)
