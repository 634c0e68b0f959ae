"""Fluent Speech Commands as it lies on disk, and the joint accuracy of three slots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from downstream.intent_classification import CARD, TASK
from downstream.shared.fluent import INTENTS, SLOTS, wording
from superbench import BadCorpus, Corpora, Fold, MissingCorpus, Prediction, Split

HEAD = ",path,speakerId,transcription,action,object,location\n"
ROWS = {
    "train": ["a1,change language,none,none", "a2,activate,lights,kitchen"],
    "valid": ["b1,increase,heat,washroom"],
    "test": ["c1,bring,shoes,none"],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The layout of the corpus, with four utterances."""
    top = tmp_path / "fluent_speech_commands_dataset"
    (top / "data").mkdir(parents=True)
    for split, rows in ROWS.items():
        lines = []
        for number, row in enumerate(rows):
            name, action, object_, place = row.split(",")
            sound = top / "wavs" / "speakers" / f"s{name[0]}" / f"{name}.wav"
            sound.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(sound, np.full(4000, 0.1), 16_000)
            path = sound.relative_to(top)
            lines.append(f'{number},{path},s{name[0]},"Do it, please",{action},{object_},{place}\n')
        (top / "data" / f"{split}_data.csv").write_text(HEAD + "".join(lines))
    return tmp_path


def edit(root: Path, old: str, new: str, split: str = "train") -> None:
    path = root / "fluent_speech_commands_dataset" / "data" / f"{split}_data.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_splits_follow_the_lists_and_the_value_none_is_kept(root: Path) -> None:
    (fold,) = TASK.read(Corpora(root))
    assert [len(split.items) for split in (fold.train, fold.dev, fold.test)] == [2, 1, 1]
    item = fold.train.items[0]
    assert item.label == {"action": "change language", "object": "none", "location": "none"}
    assert (item.id, item.group) == ("a1", ("sa",))


def test_an_unknown_slot_value_is_an_error_with_file_line_and_value(root: Path) -> None:
    edit(root, "none,none", ",none")
    with pytest.raises(BadCorpus, match=r"train_data\.csv, line 2: '' is no object"):
        TASK.read(Corpora(root))


def test_a_listed_file_that_is_missing_is_an_error(root: Path) -> None:
    edit(root, "a2.wav", "a9.wav")
    with pytest.raises(BadCorpus, match=r"a9\.wav is listed in Fluent Speech Commands but not there"):
        TASK.read(Corpora(root))


def test_an_utterance_in_two_lists_is_an_error(root: Path) -> None:
    edit(root, "wavs/speakers/sc/c1.wav", "wavs/speakers/sa/a1.wav", "test")
    with pytest.raises(BadCorpus, match=r"test_data\.csv line 2: a1 is listed twice, first in train_data\.csv line \d"):
        TASK.read(Corpora(root))


def test_a_column_or_a_list_that_is_missing_is_an_error(root: Path) -> None:
    edit(root, "speakerId", "speaker")
    with pytest.raises(BadCorpus, match="has no column speakerId"):
        TASK.read(Corpora(root))
    (root / "fluent_speech_commands_dataset" / "data" / "train_data.csv").unlink()
    with pytest.raises(BadCorpus, match=r"train_data\.csv is not there"):
        TASK.read(Corpora(root))


def test_an_absent_corpus_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(MissingCorpus, match="fluent_speech_commands_dataset"):
        TASK.read(Corpora(tmp_path))


def test_the_head_has_the_official_size_and_decodes_what_it_encodes() -> None:
    empty = Fold("all", Split("train", ()), Split("dev", ()), Split("test", ()))
    assert TASK.head is not None
    head = TASK.head(768, empty, CARD.recipes["superb"])
    assert sum(parameter.numel() for parameter in head.parameters()) == 203_032
    label = {"action": "bring", "object": "shoes", "location": "none"}
    numbers = head.encode(label)  # type: ignore[operator]
    logits = torch.cat([torch.eye(len(values))[n] for values, n in zip(SLOTS.values(), numbers, strict=True)])[None]
    assert head.decode(logits, torch.tensor([1])) == [label]  # type: ignore[operator]


def test_all_three_slots_must_be_right() -> None:
    right = {"action": "bring", "object": "shoes", "location": "none"}
    predictions = [
        Prediction("a", "all", ("s",), right, dict(right)),
        Prediction("b", "all", ("s",), right, right | {"location": "kitchen"}),
        Prediction("c", "all", ("s",), right, right | {"object": "socks", "action": "activate"}),
        Prediction("d", "all", ("s",), right, dict(right)),
    ]
    assert TASK.score(predictions, {})["accuracy"].value == 50.0


def test_the_official_recipe_is_the_published_one() -> None:
    recipe = CARD.recipes["superb"]
    assert (recipe.steps, recipe.batch, recipe.evaluate_every, recipe.optimizer, recipe.clip) == (
        200_000,
        32,
        5_000,
        "adam",
        1.0,
    )


def test_the_miniature_has_a_sentence_for_each_of_the_31_intents() -> None:
    assert len(set(INTENTS)) == len(INTENTS) == 31
    for intent in INTENTS:
        assert all(value in SLOTS[slot] for slot, value in zip(SLOTS, intent, strict=True))
        text = wording(*intent, np.random.default_rng(0))
        assert "{" not in text
        assert intent[2] == "none" or intent[2] in text
