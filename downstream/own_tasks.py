"""Tasks on a person's own corpus, which a list of sounds describes: classification, tagging, CTC and verification.

`superbench task new --from manifest.csv` writes a file that calls one of these functions. A task has one recipe, `custom`.
Without a manifest, a task can only score predictions: so a board scores results of tasks that are installed nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from downstream.shared import own_heads, own_scores
from superbench import (
    BadCorpus,
    Fold,
    Manifest,
    MissingCorpus,
    Outputs,
    Prediction,
    Recipe,
    Selection,
    Setting,
    Split,
    Task,
    TaskCard,
    one_per_item,
    read_manifest,
)

MEANS = Recipe(steps=2_000, batch=32, evaluate_every=200, learning_rates=(1e-1, 1e-2, 1e-3, 1e-4))
FRAMES = Recipe(
    steps=4_000, batch=16, evaluate_every=400, learning_rates=(2e-3, 5e-4), sampler="windows",
    options={"width": 256, "feature_width": 16, "time_width": 8},
)  # fmt: skip
THRESHOLDS = tuple(number / 20 for number in range(1, 20))
SEPARATOR = ";"
"""Between the labels of one sound, in the column label of a manifest for tagging."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the tasks of a kind share. `tags_of` returns the labels in the text of the column label; None: it is no set of
    them."""

    name: str
    card: Mapping[str, Any]
    head: Callable[[int, Fold, Recipe], nn.Module]
    select: Selection
    score: Callable[..., Any]
    tags_of: Callable[[str], Sequence[str]] | None
    predicts: Any
    complete: Callable[[Fold], Fold] = lambda fold: fold


def classification(name: str, manifest: Path | str | None = None, *, recipe: Recipe = MEANS, **facts: Any) -> Task:
    """Returns a task that chooses one label for a sound: Linear(dim, 256) → mean → Linear(256, labels); accuracy.

    `facts`: `title`, `version`, `corpus`, `licence`, `withheld` of the card, and `shared_speakers` (see `read_manifest`).
    """
    kind = _Kind(
        name="classification", card={"primary": "accuracy", "reads": "mean"}, head=own_heads.classifier,
        select=Selection("accuracy", True, one_per_item), score=own_scores.accuracy_of, tags_of=lambda label: [label],
        predicts=str,
    )  # fmt: skip
    return _task(kind, name, manifest, recipe, facts)


def tagging(name: str, manifest: Path | str | None = None, *, recipe: Recipe = MEANS, **facts: Any) -> Task:
    """Returns a task that chooses any number of labels for a sound (`dog;rain` in the column label): one logistic output for
    each label; micro-averaged F1 at the threshold that is best on dev. `facts`: see `classification`."""
    kind = _Kind(
        name="tagging", card={"primary": "f1", "reads": "mean"}, head=own_heads.tagger,
        select=Selection("f1", True, _at_thresholds), score=own_scores.tag_scores, tags_of=tags_of, predicts=list[str],
    )  # fmt: skip
    return _task(kind, name, manifest, recipe, facts)


def ctc(name: str, manifest: Path | str | None = None, *, recipe: Recipe = FRAMES, primary: str = "wer", **facts: Any) -> Task:
    """Returns a task that writes what is said: two BLSTM layers trained by CTC, decoded greedily; WER and CER.

    `primary`: `wer`, or `cer` for writing without spaces. With `units="words"` in the options of the recipe, the outputs are
    the words of the training labels (phones, characters between spaces), else their characters. `facts`: see `classification`.
    """
    kind = _Kind(
        name="ctc", card={"primary": primary, "reads": "frames"}, head=own_heads.writer,
        select=Selection(primary, False, one_per_item), score=own_scores.edit_rates, tags_of=None, predicts=str,
    )  # fmt: skip
    return _task(kind, name, manifest, recipe, facts)


def verification(name: str, manifest: Path | str | None = None, *, recipe: Recipe = MEANS, **facts: Any) -> Task:
    """Returns a task that decides whether two sounds have the same label (a speaker): an embedding of the mean feature,
    trained by AM-softmax to tell the labels of train apart; EER over pairs of sounds of test. `facts`: see `classification`.

    The pairs of a split are all of the same label and as many of different ones, at most 10 000 of each, drawn with a fixed
    seed.
    """
    kind = _Kind(
        name="verification", card={"primary": "eer", "reads": "mean", "domain": "speaker"}, head=own_heads.embedder,
        select=Selection("eer", False, own_scores.pairs_of_items), score=own_scores.verification_scores, tags_of=None,
        predicts=float, complete=own_scores.with_trials,
    )  # fmt: skip
    return _task(kind, name, manifest, recipe, facts)


def tags_of(label: str) -> list[str]:
    """Returns the labels of a sound, sorted, each once.

    >>> tags_of("rain; dog;rain")
    ['dog', 'rain']
    """
    return sorted({tag.strip() for tag in label.split(SEPARATOR)} - {""})


def _task(kind: _Kind, name: str, manifest: Path | str | None, recipe: Recipe, facts: Mapping[str, Any]) -> Task:
    given: dict[str, Any] = {
        "title": name,
        "version": 1,
        "corpus": name,
        "licence": "not stated",
        "withheld": "",
        "shared_speakers": False,
    }
    given["primary"] = kind.card["primary"]
    if unknown := set(facts) - set(given):
        raise TypeError(f"{kind.name}() has no argument {min(unknown)!r}; it has name, manifest, recipe, {', '.join(given)}.")
    given |= facts
    if given["primary"] != kind.card["primary"]:
        raise ValueError(f"{kind.name}() has no score {given['primary']!r} to choose by; it has {kind.card['primary']!r}.")
    shared = given.pop("shared_speakers")
    where = "not known here" if manifest is None else str(manifest)
    card = TaskCard(
        name=name, kind=kind.name, paper="none", obtain=f"A person's own corpus; its list is {where}.\n",
        layout=f"{where}: path, label, split, speaker\n", recipes={"custom": recipe}, reference_points={}, published={},
        differences={}, **{"domain": "content", **kind.card, **given},
    )  # fmt: skip
    return Task(
        card=card, read=lambda corpora: read(kind, manifest, shared_speakers=shared), prepare=_unchanged, head=kind.head,
        select=kind.select, score=kind.score, predicts=kind.predicts,
    )  # fmt: skip


def _unchanged(split: Split, hop: int, recipe: Recipe) -> Split:
    return split


def read(kind: _Kind, manifest: Path | str | None, *, shared_speakers: bool) -> tuple[Fold, ...]:
    """Reads the one fold of a manifest; raises `BadCorpus` (see `read_manifest`), `MissingCorpus` if it is not there."""
    if manifest is None:
        raise MissingCorpus("The list of this corpus is not known here: only its results can be scored.")
    if not Path(manifest).exists():
        raise MissingCorpus(f"The list {manifest} is not there. Correct its path in the file of the task.")
    rows = read_manifest(manifest, shared_speakers=shared_speakers)
    return (kind.complete(_labelled(rows, kind)),)


def _labelled(rows: Manifest, kind: _Kind) -> Fold:
    """Returns the fold; labels of a set are checked (train has examples of all) and have the form that the kind predicts."""
    if kind.tags_of is None:
        return rows.fold()
    by_id = {row.id: kind.tags_of(row.label) for row in rows.rows}
    if row := next((row for row in rows.rows if not by_id[row.id]), None):
        raise BadCorpus(f"{row.place}: the field label {row.label!r} names no label. Expected names between {SEPARATOR!r}.")
    fold = rows.fold(remarks=rows.label_remarks(by_id))
    if len({label for labels in by_id.values() for label in labels}) < 2:
        raise BadCorpus(f"{rows.path} has one label only, so there is nothing to choose. Expected two labels or more.")
    if kind.predicts is str:  # one label, which is a text
        return fold
    splits = [replace(s, items=tuple(replace(item, label=by_id[item.id]) for item in s.items)) for s in fold.splits]
    return replace(fold, train=splits[0], dev=splits[1], test=splits[2])


def _at_thresholds(
    fold: str, split: Split, outputs: Outputs, only: Setting | None
) -> Iterable[tuple[Setting, list[Prediction]]]:
    """Yields the labels whose probability exceeds a threshold, for every threshold."""
    for setting in [only] if only else [{"threshold": value} for value in THRESHOLDS]:
        yield (
            setting,
            [
                Prediction(
                    id=item.id, fold=fold, group=item.group, reference=item.label,
                    prediction=sorted(tag for tag, share in outputs[item.id].items() if share > setting["threshold"]),
                )
                for item in split.items
            ],
        )  # fmt: skip
