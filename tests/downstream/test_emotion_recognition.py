"""ER: folds, labels, the draw of dev, the score, and errors in a corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import random_split

from downstream.emotion_recognition import TASK, official_dev
from superbench import BadCorpus, Corpora, Fold, MissingCorpus, Prediction

LABELS = ("neu", "hap", "exc", "ang", "sad", "fru", "xxx")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five sessions of two dialogs with a turn of each label by each actor (empty sounds: only their presence is looked at)."""
    for session in range(1, 6):
        for dialog in (f"Ses0{session}M_script01_1", f"Ses0{session}F_impro01"):
            lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
            for number, label in enumerate(LABELS):
                for sex in "FM":
                    lines.append(f"[{number}.0 - {number}.9]\t{dialog}_{sex}{number:03d}\t{label}\t[2.5, 2.5, 2.5]")
                    lines.append("C-E2:\tNeutral;\t()")
                    sound = tmp_path / f"IEMOCAP/Session{session}/sentences/wav/{dialog}/{dialog}_{sex}{number:03d}.wav"
                    sound.parent.mkdir(parents=True, exist_ok=True)
                    sound.touch()
            file = tmp_path / f"IEMOCAP/Session{session}/dialog/EmoEvaluation/{dialog}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(lines))
            (file.parent / f"._{dialog}.txt").write_text("[no label file]")
    return tmp_path


def folds(root: Path) -> tuple[Fold, ...]:
    return TASK.read(Corpora(root))


def test_each_fold_tests_on_one_session_that_it_does_not_train_on(root: Path) -> None:
    five_folds = folds(root)
    assert [fold.name for fold in five_folds] == ["fold1", "fold2", "fold3", "fold4", "fold5"]
    for number, fold in enumerate(five_folds, start=1):
        session = f"Ses0{number}"
        assert {item.id[:5] for item in fold.test.items} == {session}
        assert session not in {item.id[:5] for item in fold.train.items + fold.dev.items}


def test_other_labels_are_dropped_and_excited_counts_as_happy(root: Path) -> None:
    labels = [item.label for item in folds(root)[0].test.items]
    assert {label: labels.count(label) for label in set(labels)} == {"neu": 4, "hap": 8, "ang": 4, "sad": 4}


def test_dev_is_drawn_by_random_split_with_seed_zero(root: Path) -> None:
    five_folds = folds(root)
    for number, fold in enumerate(five_folds):
        sessions = [other_fold.test.items for place, other_fold in enumerate(five_folds) if place != number]
        rest = [item.id for items in sessions for item in items]
        torch_train, torch_dev = random_split(range(80), [64, 16], generator=torch.Generator().manual_seed(0))
        assert {item.id for item in fold.train.items} == {rest[place] for place in torch_train}
        assert {item.id for item in fold.dev.items} == {rest[place] for place in torch_dev}


def test_items_are_ordered_by_label_file_and_line_and_grouped_by_actor(root: Path) -> None:
    items = folds(root)[2].test.items
    assert [item.id for item in items[:3]] == ["Ses03F_impro01_F000", "Ses03F_impro01_M000", "Ses03F_impro01_F001"]
    assert [item.group for item in items[:3]] == [("Ses03F",), ("Ses03M",), ("Ses03F",)]
    assert items[-1].audio.path == root / "IEMOCAP/Session3/sentences/wav/Ses03M_script01_1/Ses03M_script01_1_M004.wav"


def test_the_folder_of_the_release_may_have_either_name(root: Path) -> None:
    (root / "IEMOCAP").rename(root / "IEMOCAP_full_release")
    assert len(folds(root)[0].test.items) == 20


def test_a_missing_sound_is_an_error_that_names_it(root: Path) -> None:
    gone = root / "IEMOCAP/Session4/sentences/wav/Ses04F_impro01/Ses04F_impro01_M003.wav"
    gone.unlink()
    with pytest.raises(BadCorpus, match=str(gone)):
        folds(root)


def test_a_missing_sound_of_a_dropped_label_is_ignored(root: Path) -> None:
    (root / "IEMOCAP/Session4/sentences/wav/Ses04F_impro01/Ses04F_impro01_M006.wav").unlink()
    assert len(folds(root)[3].test.items) == 20


def test_a_session_without_labels_is_an_error(root: Path) -> None:
    for file in (root / "IEMOCAP/Session5/dialog/EmoEvaluation").glob("*.txt"):
        file.unlink()
    with pytest.raises(BadCorpus, match="Session5"):
        folds(root)


@pytest.mark.parametrize(
    ("line", "message"), [("[1.0 - 2.0] Ses01F_impro01_F000 neu", "line 2"), ("[1 - 2]\tSes01F_impro01_F000\tneu\t[]", "twice")]
)
def test_broken_and_repeated_lines_are_errors(root: Path, line: str, message: str) -> None:
    file = root / "IEMOCAP/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    file.write_text(f"%\n{line}\n{line}\n")
    with pytest.raises(BadCorpus, match=message):
        folds(root)


def test_an_absent_corpus_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(MissingCorpus, match="IEMOCAP_full_release"):
        TASK.read(Corpora(tmp_path))


def test_the_score_is_the_weighted_mean_of_the_folds() -> None:
    right = [("fold1", 1), ("fold1", 0), ("fold1", 1), ("fold1", 1), ("fold2", 0), ("fold2", 1)]
    predictions = [Prediction(str(n), fold, (), "sad", "sad" if hit else "neu") for n, (fold, hit) in enumerate(right)]
    score = TASK.score(predictions, {})["accuracy"]
    assert score.value == pytest.approx((75 + 50) / 2)
    assert score.counts == {"correct": 4, "items": 6}
    assert score.reweighted(np.array([0, 3, 1, 0, 1, 3])) == pytest.approx((25 + 75) / 2)
    assert score.reweighted(np.array([1, 1, 0, 0, 0, 0])) == pytest.approx(50)
    assert np.isnan(score.reweighted(np.zeros(6)))


# ---------------------------------------------------------------- the official dev sets


OFFICIAL = {"fold1": 890, "fold2": 902, "fold3": 876, "fold4": 900, "fold5": 858}


def listed(root: Path, utterances: set[str]) -> Path:
    """A corpus of these utterances, all neutral, in the true layout (empty sounds: only their presence is looked at)."""
    dialogs: dict[str, list[str]] = {}
    for utterance in sorted(utterances):
        dialogs.setdefault(utterance.rpartition("_")[0], []).append(utterance)
    for dialog, turns in dialogs.items():
        session = root / f"IEMOCAP/Session{int(dialog[3:5])}"
        (session / "sentences/wav" / dialog).mkdir(parents=True)
        for turn in turns:
            (session / "sentences/wav" / dialog / f"{turn}.wav").touch()
        file = session / "dialog/EmoEvaluation" / f"{dialog}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"[{n}.0 - {n}.9]\t{turn}\tneu\t[2.5, 2.5, 2.5]\n" for n, turn in enumerate(turns)))
    return root


@pytest.mark.slow
def test_a_corpus_that_has_every_listed_utterance_gets_the_official_dev_sets(tmp_path: Path) -> None:
    official = official_dev()
    assert {fold: len(utterances) for fold, utterances in official.items()} == OFFICIAL
    utterances = set().union(*official.values())
    for fold in folds(listed(tmp_path / "whole", utterances)):
        assert {item.id for item in fold.dev.items} == official[fold.name]
        assert not {item.id for item in fold.train.items} & official[fold.name]
        assert fold.remarks == ()


@pytest.mark.slow
def test_a_corpus_without_one_of_them_keeps_drawn_dev_sets_and_says_so(tmp_path: Path) -> None:
    official = official_dev()
    lost = min(official["fold1"])
    five_folds = folds(listed(tmp_path / "part", set().union(*official.values()) - {lost}))
    assert any({item.id for item in fold.dev.items} != official[fold.name] for fold in five_folds)
    assert all(lost in fold.remarks[0] and "1 of the " in fold.remarks[0] for fold in five_folds)
