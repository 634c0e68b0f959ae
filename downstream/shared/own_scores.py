"""The scores of tasks on a person's own corpus, and the pairs of sounds that verification compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from downstream.shared.text import character_edits, word_edits
from downstream.shared.verification import equal_error_rate, minimum_cost
from superbench import BadCorpus, Fold, Item, Outputs, Prediction, Score, Setting, Split, Trial, accuracy, ratio

Facts = Mapping[str, float]
MOST_PAIRS = 10_000
"""Pairs of the same label in a split, and of different labels."""


def accuracy_of(predictions: Sequence[Prediction], facts: Facts) -> dict[str, Score]:
    """Computes the accuracy, in percent."""
    return {"accuracy": accuracy(predictions)}


def tag_scores(predictions: Sequence[Prediction], facts: Facts) -> dict[str, Score]:
    """Computes the micro-averaged F1 = 2 · hits / (labels + predicted labels), in percent.

    >>> rows = [Prediction("a", "all", (), ["dog", "rain"], ["dog"]), Prediction("b", "all", (), ["cat"], ["cat", "dog"])]
    >>> round(tag_scores(rows, {})["f1"].value, 2)
    66.67
    """
    hits = [2.0 * len(set(p.reference) & set(p.prediction)) for p in predictions]
    sizes = [float(len(set(p.reference)) + len(set(p.prediction))) for p in predictions]
    counts = {"hits": sum(hits) / 2, "labels": float(sum(len(set(p.reference)) for p in predictions))}
    return {"f1": ratio(hits, sizes, higher_is_better=True, counts=counts)}


def edit_rates(predictions: Sequence[Prediction], facts: Facts) -> dict[str, Score]:
    """Computes WER and CER: edits over reference words or characters, summed over the corpus, in percent."""
    pairs = [str(p.reference) for p in predictions], [str(p.prediction) for p in predictions]
    scores = {}
    for name, unit, edits in (("wer", "words", word_edits), ("cer", "characters", character_edits)):
        errors, sizes = edits(*pairs)
        counts = {"errors": float(sum(errors)), unit: float(sum(sizes))}
        scores[name] = ratio(errors, sizes, higher_is_better=False, counts=counts)
    return scores


# ---------------------------------------------------------------- verification


def verification_scores(predictions: Sequence[Prediction], facts: Facts) -> dict[str, Score]:
    """Computes the EER (percent), and the minimum of the normalised detection cost at a target probability of 0.01."""
    scores = np.array([prediction.prediction for prediction in predictions])
    labels = np.array([prediction.reference for prediction in predictions])
    return {"eer": equal_error_rate(scores, labels), "min_dcf": minimum_cost(scores, labels, target_probability=0.01)}


def pairs_of_items(
    fold: str, split: Split, outputs: Outputs, only: Setting | None
) -> Iterable[tuple[Setting, list[Prediction]]]:
    """Yields the trials of a split with the cosine of their embeddings."""
    yield (
        {},
        [
            Prediction(
                id=trial.id, fold=fold, group=trial.group, reference=trial.reference,
                prediction=float(np.dot(outputs[trial.left], outputs[trial.right])),
            )
            for trial in split.trials
        ],
    )  # fmt: skip


def with_trials(fold: Fold) -> Fold:
    """Returns the fold with trials in dev and in test; raises `BadCorpus` for a split without both kinds of pairs."""
    return replace(fold, dev=replace(fold.dev, trials=trials(fold.dev)), test=replace(fold.test, trials=trials(fold.test)))


def trials(split: Split) -> tuple[Trial, ...]:
    """Returns pairs of sounds of the same label, and as many of different labels, drawn with a fixed seed."""
    random, by_label = np.random.default_rng(0), dict[str, list[Item]]()
    for item in split.items:
        by_label.setdefault(str(item.label), []).append(item)
    same = _same(list(by_label.values()), random)
    if not same or len(by_label) < 2:
        found = "no label has two sounds" if len(by_label) > 1 else "there is one label only"
        raise BadCorpus(f"The split {split.name} has no pairs to compare: {found}. Expected two labels with two sounds each.")
    return tuple(_trial(*pair) for pair in [*same, *_different(split.items, len(same), random)])


def _same(groups: Sequence[Sequence[Item]], random: np.random.Generator) -> list[tuple[Item, Item]]:
    """Returns all pairs of the same label, or `MOST_PAIRS` of them, drawn, each once."""
    sizes = np.array([len(items) * (len(items) - 1) // 2 for items in groups])
    if sizes.sum() <= MOST_PAIRS:
        return [pair for items in groups for pair in combinations(items, 2)]
    drawn: dict[tuple[int, int, int], None] = {}
    while len(drawn) < MOST_PAIRS:
        for group in random.choice(len(groups), MOST_PAIRS, p=sizes / sizes.sum()).tolist():
            left, right = sorted(random.choice(len(groups[group]), 2, replace=False).tolist())
            drawn.setdefault((group, left, right))
    return [(groups[group][left], groups[group][right]) for group, left, right in list(drawn)[:MOST_PAIRS]]


def _different(items: Sequence[Item], count: int, random: np.random.Generator) -> list[tuple[Item, Item]]:
    """Draws pairs of different labels, each pair once; fewer than `count` if there are fewer."""
    drawn: dict[tuple[int, int], None] = {}
    for left, right in random.integers(len(items), size=(20 * count, 2)).tolist():
        if items[left].label != items[right].label:
            drawn.setdefault((min(left, right), max(left, right)))
        if len(drawn) == count:
            break
    return [(items[left], items[right]) for left, right in drawn]


def _trial(left: Item, right: Item) -> Trial:
    group = tuple(sorted({*left.group, *right.group}))
    return Trial(left.id, right.id, int(left.label == right.label), group)
