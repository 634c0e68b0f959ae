"""Collapsed heads (one answer for almost every item) are detected; other heads are not reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from superbench.contract import Prediction
from superbench.training.probes.collapse import collapses

CLASSES = ["yes", "no", "up", "down"]


def answers(predictions: Sequence[Any], references: Sequence[Any], fold: str = "all") -> list[Prediction]:
    pairs = zip(predictions, references, strict=True)
    return [Prediction(str(i), fold, ("x",), reference, prediction) for i, (prediction, reference) in enumerate(pairs)]


def test_one_class_for_nearly_all_is_noted_with_its_share_and_that_of_the_references() -> None:
    (note,) = collapses(answers(["yes"] * 37 + ["no"] * 3, CLASSES * 10))
    assert note.startswith("collapsed: 92.5 % of the 40 items")
    assert "'yes'" in note
    assert "the most common reference has 25 %" in note


@pytest.mark.parametrize(
    ("predictions", "references"),
    [
        (CLASSES * 10, CLASSES * 10),
        (["yes"] * 35 + ["no"] * 5, CLASSES * 10),  # 87.5 %
        (["yes"] * 40, ["yes"] * 36 + ["no"] * 4),  # as common in the references
        (["yes"] * 40, ["yes"] * 40),
        (["yes"] * 4, CLASSES),  # too few to tell
        ([], []),
    ],
)
def test_answers_that_differ_as_references_do_are_not(predictions: list[str], references: list[str]) -> None:
    assert collapses(answers(predictions, references)) == []


@pytest.mark.parametrize("nearly", ["", "THE", "THE THE"])
def test_transcripts_that_are_empty_or_the_same_are_noted(nearly: str) -> None:
    references = [f"SENTENCE {number} HAS WORDS" for number in range(20)]
    (note,) = collapses(answers([nearly] * 19 + ["A WORD"], references))
    assert ("empty" if not nearly else repr(nearly)) in note


def test_one_word_repeated_more_or_less_often_is_noted() -> None:
    references = [f"SENTENCE {number} HAS WORDS" for number in range(20)]
    (note,) = collapses(answers([" ".join(["AH"] * (1 + number % 7)) for number in range(20)], references))
    assert "words in the predictions are 'AH'" in note


def test_poor_transcripts_are_not_a_collapse() -> None:
    references = [f"SENTENCE {number} HAS WORDS" for number in range(20)]
    assert collapses(answers([f"SENTENCE {number % 3}" for number in range(20)], references)) == []


def test_of_several_answers_to_an_item_the_field_that_collapsed_is_named() -> None:
    references = [{"action": CLASSES[i % 4], "place": CLASSES[i // 4 % 4]} for i in range(32)]
    (note,) = collapses(answers([one | {"place": "up"} for one in references], references))
    assert note.startswith("place collapsed: 100 % of the 32 items")
    assert collapses(answers(references, references)) == []


@pytest.mark.parametrize("constant", [0.0, 1.0, -3.5])
def test_scores_that_do_not_differ_are_noted_whatever_their_rounding(constant: float) -> None:
    (note,) = collapses(answers([constant * (1 + 1e-7 * (i % 3)) for i in range(200)], [i % 2 for i in range(200)]))
    assert "of the 200 scores" in note


def test_a_detector_of_rare_targets_that_is_silent_elsewhere_is_no_collapse() -> None:
    targets = [int(i % 25 == 0) for i in range(200)]
    assert collapses(answers([float(target) for target in targets], targets)) == []
    assert collapses(answers([0.5 + 1e-3 * (i * 37 % 200) for i in range(200)], targets)) == []


def test_each_fold_is_judged_by_itself() -> None:
    """Heads of two folds may collapse into different classes."""
    own = [answers([CLASSES[fold]] * 20, CLASSES * 5, f"fold{fold}") for fold in (0, 1)]
    notes = collapses([*own[0], *own[1], *answers(CLASSES * 5, CLASSES * 5, "fold2")])
    assert [note.split(":")[0] for note in notes] == ["fold fold0", "fold fold1"]
