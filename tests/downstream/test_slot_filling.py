"""SF: the tree of Audio SNIPS, references, and both metrics on cases worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from downstream.shared import snips
from downstream.shared.snips import SLOTS, SPEAKERS
from downstream.shared.speech import Line
from downstream.slot_filling import TASK, slots, type_f1, value_edits
from superbench import BadCorpus, Corpora, MissingCorpus, Prediction

LINES = """\
Ivy-snips-train-0 BOS PLAY NINA STONE EOS\tO O artist artist PlayMusic
Amy-snips-valid-0 BOS RAIN ? EOS\tO O O GetWeather
Emma-snips-test-0 BOS IN PARIS EOS\tO O city GetWeather
Brian-snips-test-3 BOS BOOK EOS\tO O BookRestaurant
Emma-snips-train-0 BOS PLAY EOS\tO O PlayMusic
"""


@pytest.fixture
def corpora(tmp_path: Path) -> Corpora:
    root = tmp_path / "SNIPS"
    for key in ("Ivy-snips-train-0", "Amy-snips-valid-0", "Emma-snips-test-0", "Brian-snips-test-3"):
        path = root / key.split("-")[2] / f"{key}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"read by nobody here")
    (root / "all.iob.snips.txt").write_text(LINES)
    (root / "slots.txt").write_text("\n".join(["O", *SLOTS]))
    return Corpora(tmp_path)


def test_lines_of_a_splits_own_speakers_are_its_items(corpora: Corpora) -> None:
    (fold,) = TASK.read(corpora)
    assert [item.id for item in fold.test.items] == ["Emma-snips-test-0", "Brian-snips-test-3"]
    assert fold.train.items[0].label == (("PLAY", "O"), ("NINA", "artist"), ("STONE", "artist"))
    assert fold.train.items[0].group == ("Ivy",)
    assert fold.dev.items[0].audio.path == corpora.root / "SNIPS/valid/Amy-snips-valid-0.wav"


def test_references_are_printed_with_tags(corpora: Corpora) -> None:
    test = TASK.read(corpora)[0].test
    ((_, predictions),) = TASK.select.candidates("all", test, {item.id: "X" for item in test.items}, None)
    assert [(p.reference, p.prediction) for p in predictions] == [("IN B-city PARIS E-city", "X"), ("BOOK", "X")]


def test_mp3_is_taken_where_there_is_no_wav(corpora: Corpora) -> None:
    path = corpora.root / "SNIPS/train/Ivy-snips-train-0.wav"
    path.rename(path.with_suffix(".mp3"))
    assert TASK.read(corpora)[0].train.items[0].audio.path.suffix == ".mp3"


def test_missing_and_unlisted_sounds_are_errors_that_name_them(corpora: Corpora) -> None:
    path = corpora.root / "SNIPS/test/Emma-snips-test-0.wav"
    path.rename(path.with_name("Emma-snips-test-9.wav"))
    with pytest.raises(BadCorpus, match=r"Emma-snips-test-0\.wav is listed"):
        TASK.read(corpora)
    path.write_bytes(b"")
    with pytest.raises(BadCorpus, match=r"Emma-snips-test-9\.wav has no line"):
        TASK.read(corpora)
    path.with_name("Emma-snips-test-9.wav").rename(path.with_name("._Emma-snips-test-9.wav"))
    assert len(TASK.read(corpora)[0].test.items) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Ivy-snips-train-0 BOS PLAY EOS\tO O O PlayMusic", "line 6: expected"),
        ("Ivy-snips-train-1 BOS PLAY EOS\tO B-artist PlayMusic", "line 6: B-artist is none of the 39"),
        ("Ivy-snips-train-0 BOS PLAY EOS\tO O PlayMusic", "line 6: Ivy-snips-train-0 is listed twice"),
    ],
)
def test_a_bad_line_is_an_error_with_its_number(corpora: Corpora, line: str, message: str) -> None:
    (corpora.root / "SNIPS/all.iob.snips.txt").write_text(LINES + line + "\n")
    with pytest.raises(BadCorpus, match=message):
        TASK.read(corpora)


def test_unknown_slots_are_an_error_and_the_list_of_slots_may_be_absent(corpora: Corpora) -> None:
    path = corpora.root / "SNIPS/slots.txt"
    path.write_text("O\nalbum\n")
    with pytest.raises(BadCorpus, match="these differ"):
        TASK.read(corpora)
    path.unlink()
    assert TASK.read(corpora)


def test_transcripts_that_are_absent_are_named(corpora: Corpora) -> None:
    (corpora.root / "SNIPS/all.iob.snips.txt").unlink()
    with pytest.raises(MissingCorpus, match=r"all\.iob\.snips\.txt does not exist"):
        TASK.read(corpora)


@pytest.mark.slow
def test_every_recipe_builds_a_head_of_109_outputs(corpora: Corpora) -> None:
    (fold,) = TASK.read(corpora)
    assert TASK.head is not None
    for recipe in TASK.card.recipes.values():
        head = TASK.head(4, fold, recipe)
        assert head(torch.randn(1, 12, 4), torch.tensor([12])).shape == (1, 12, 109)


def test_the_slot_type_f1_counts_types_once_and_ignores_values() -> None:
    assert type_f1(set(), set()) == 1.0
    assert type_f1({"a"}, set()) == type_f1(set(), {"a"}) == type_f1({"a"}, {"b"}) == 0.0
    assert type_f1({"a", "b"}, {"a"}) == pytest.approx(2 / 3)


def test_slots_need_a_value_and_a_closing_tag_of_their_type() -> None:
    assert slots("B-city E-city B-artist NINA STONE E-artist") == {"artist": ["NINA STONE"]}
    # an empty slot runs on to the next closing tag of its type, as in the source's pattern
    assert slots("B-city E-city B-artist NINA E-city STONE E-artist") == {"city": ["E-city B-artist NINA"]}
    assert slots("B-city A E-city B-city B E-city B-state C") == {"city": ["A", "B"]}
    assert slots("B-playlist A E-playlist_owner") == {"playlist": ["A"]}  # no word boundary, as in the source


def test_the_nearest_value_of_the_type_is_compared_and_its_stray_tags_are_removed() -> None:
    assert value_edits({"city": ["PARIS"]}, {"city": ["LONDON", "PARI"]}) == (1, 5)
    assert value_edits({"city": ["PARIS"]}, {"state": ["PARIS"]}) == (5, 5)
    assert value_edits({"city": ["PARIS", "ROME"]}, {"city": ["PARIS"]}) == (0 + 5, 9)
    assert value_edits({"artist": ["NINA STONE"]}, slots("B-artist NINA E-city STONE E-artist")) == (0, 10)
    assert value_edits({}, {"city": ["PARIS"]}) == (0, 0)


def test_both_metrics_over_a_corpus_and_under_other_weights() -> None:
    predictions = [
        Prediction("a", "all", ("x",), "IN B-city PARIS E-city", "IN B-city PARI E-city"),
        Prediction("b", "all", ("y",), "IN B-city ROME E-city", "IN ROME"),
        Prediction("c", "all", ("y",), "BOOK", "BOOK"),
    ]
    scores = TASK.score(predictions, {})
    assert scores["slot_type_f1"].value == pytest.approx(100 * 2 / 3)
    assert scores["slot_value_cer"].value == pytest.approx(100 * 5 / 9)
    weights = np.array([2.0, 1.0, 0.0])
    assert scores["slot_type_f1"].reweighted(weights) == pytest.approx(100 * 2 / 3)
    assert scores["slot_value_cer"].reweighted(weights) == pytest.approx(100 * 6 / 14)


@pytest.mark.slow
def test_the_miniature_has_all_speakers_valid_slots_and_new_values_in_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(lines: Sequence[Line]) -> None:
        for line in lines:
            line.path.parent.mkdir(parents=True, exist_ok=True)
            line.path.write_bytes(b"")

    monkeypatch.setattr(snips, "speak", silent)
    TASK.synth(tmp_path, 0)
    (fold,) = TASK.read(Corpora(tmp_path))
    assert [len(split.items) for split in (fold.train, fold.dev, fold.test)] == [320, 80, 320]
    assert {item.group[0] for item in fold.test.items} == set(SPEAKERS["test"])
    train_words = {word for item in fold.train.items for word, _ in item.label}
    assert {word for item in fold.test.items for word, _ in item.label} - train_words
    assert len((tmp_path / "SNIPS/slots.txt").read_text().splitlines()) == 40
