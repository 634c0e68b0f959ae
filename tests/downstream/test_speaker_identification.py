"""SID: the split list, the label space, the head."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstream.speaker_identification import TASK
from superbench import BadCorpus, Corpora, MissingCorpus

NAMES = ("id10001/aaaaaaaaaaa/00001.wav", "id11251/bbbbbbbbbbb/00002.wav", "id10270/ccccccccccc/00001.wav")
LIST = "3 id10001/aaaaaaaaaaa/00001.wav\n1 id10270/ccccccccccc/00001.wav\n2 id11251/bbbbbbbbbbb/00002.wav\n"


@pytest.fixture
def corpora(tmp_path: Path) -> Corpora:
    root = tmp_path / "VoxCeleb1"
    for name in NAMES:
        path = root / ("test" if "id10270" in name else "dev") / "wav" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"read by nobody here")
    (root / "iden_split.txt").write_text(LIST)
    return Corpora(tmp_path)


def test_the_split_list_decides_and_both_parts_are_searched(corpora: Corpora) -> None:
    (fold,) = TASK.read(corpora)
    assert [(s.items[0].id, s.items[0].label) for s in (fold.train, fold.dev, fold.test)] == [
        ("id10270/ccccccccccc/00001.wav", "id10270"),
        ("id11251/bbbbbbbbbbb/00002.wav", "id11251"),
        ("id10001/aaaaaaaaaaa/00001.wav", "id10001"),
    ]
    assert fold.train.items[0].audio.path == corpora.root / "VoxCeleb1/test/wav/id10270/ccccccccccc/00001.wav"
    assert not fold.train.items[0].audio.trim
    assert fold.test.items[0].group == ("id10001",)


def test_one_folder_for_all_speakers_is_accepted(corpora: Corpora) -> None:
    root = corpora.root / "VoxCeleb1"
    before = TASK.read(corpora)[0].train.items[0].id
    (root / "wav").mkdir()
    for speaker in [*(root / "dev/wav").iterdir(), *(root / "test/wav").iterdir()]:
        speaker.rename(root / "wav" / speaker.name)
    item = TASK.read(corpora)[0].train.items[0]
    assert item.id == before
    assert item.audio.path == root / "wav" / item.id


def test_a_listed_file_that_is_missing_is_an_error_that_names_it(corpora: Corpora) -> None:
    (corpora.root / "VoxCeleb1/dev/wav" / NAMES[0]).unlink()
    with pytest.raises(BadCorpus, match=NAMES[0]):
        TASK.read(corpora)


def test_an_utterance_listed_twice_is_an_error(corpora: Corpora) -> None:
    (corpora.root / "VoxCeleb1/iden_split.txt").write_text(LIST + f"1 {NAMES[0]}\n")
    with pytest.raises(BadCorpus, match=r"line 4: .* is listed twice"):
        TASK.read(corpora)


def test_without_a_split_list_the_corpus_is_missing(corpora: Corpora) -> None:
    (corpora.root / "VoxCeleb1/iden_split.txt").unlink()
    with pytest.raises(MissingCorpus, match=r"iden_split\.txt"):
        TASK.read(corpora)


def test_the_label_space_is_all_of_voxceleb(corpora: Corpora) -> None:
    assert TASK.head is not None
    for recipe in TASK.card.recipes.values():
        head = TASK.head(768, TASK.read(corpora)[0], recipe)
        assert sum(parameter.numel() for parameter in head.parameters()) == 518_371
        assert int(head.encode("id10001")) == 0  # type: ignore[operator]
        assert int(head.encode("id11251")) == 1_250  # type: ignore[operator]


def test_only_the_official_recipe_crops() -> None:
    recipes = TASK.card.recipes
    assert recipes["superb"].options == {"crop": "random", "crop_seconds": 8.0}
    assert recipes["superb"].batch * recipes["superb"].accumulate == 32
    assert not recipes["superb-once"].options
    assert not recipes["mini"].options
