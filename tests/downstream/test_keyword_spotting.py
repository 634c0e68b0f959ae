"""KS: the rule of the hash, silence, gain, and errors in a corpus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from downstream.keyword_spotting import CLASSES, TASK, side
from downstream.shared.spoken_commands import KEYWORDS, NOISE, TEST, TRAIN, WORDS
from superbench import BadCorpus, Corpora, Fold, MissingCorpus, load_audio

DEV, UNUSED, TRAINED = "026290a7", "0c40e715", "0165e0e8"


def sound(path: Path, samples: int = 800) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(samples, 0.5), 16_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Both archives in SpeechCommands/: every word by a speaker of each side, noise of 2.5 s, a test file per class."""
    archive = tmp_path / "SpeechCommands" / TRAIN
    for word in WORDS:
        for speaker in (DEV, UNUSED, TRAINED):
            sound(archive / word / f"{speaker}_nohash_0.wav")
    sound(archive / NOISE / "white_noise.wav", 40_000)
    (archive / "validation_list.txt").write_text(f"bed/{DEV}_nohash_0.wav\n")
    for label in CLASSES:
        sound(tmp_path / "SpeechCommands" / TEST / label / "aaaa0000_nohash_0.wav")
    return tmp_path


def fold(root: Path) -> Fold:
    (only,) = TASK.read(Corpora(root))
    return only


def test_speakers_of_the_published_testing_list_are_unused() -> None:
    listed = ("0c40e715", "0ea0e2f4", "42beb5eb", "44260689", "44715c1c", "022cd682", "096456f9")
    assert {side(f"{speaker}_nohash_{take}.wav") for speaker in listed for take in (0, 3)} == {"unused"}


def test_the_hash_gives_a_tenth_to_dev_and_leaves_a_tenth_unused() -> None:
    sides = [side(f"{number:08x}_nohash_0.wav") for number in range(5_000)]
    assert sides.count("dev") == pytest.approx(500, abs=75)
    assert sides.count("unused") == pytest.approx(500, abs=75)


@pytest.mark.slow
def test_speakers_are_split_by_their_hash_and_unused_ones_left_out(root: Path) -> None:
    only = fold(root)
    words = [item for item in only.train.items if item.label != "_silence_"]
    assert {item.group for item in words} == {(TRAINED,)}
    assert {item.group for item in only.dev.items if item.label != "_silence_"} == {(DEV,)}
    labels = [item.label for item in words]
    assert (labels.count("_unknown_"), set(labels)) == (20, {*KEYWORDS, "_unknown_"})


def test_test_ids_carry_the_folder_and_every_class_is_there(root: Path) -> None:
    tested = fold(root).test.items
    assert [item.id for item in tested] == [f"{label}/aaaa0000_nohash_0.wav" for label in CLASSES]
    assert [item.label for item in tested] == list(CLASSES)


def test_sound_is_three_decibels_softer(root: Path) -> None:
    item = fold(root).test.items[0]
    assert load_audio(item.audio).max().item() == pytest.approx(0.5 * 10 ** (-3 / 20), abs=1e-3)


def test_silence_is_sliced_in_mini_and_cropped_in_the_official_recipe(root: Path) -> None:
    only = fold(root)
    for split in (only.train, only.dev):
        sliced = [i for i in TASK.prepare(split, 320, TASK.card.recipes["mini"]).items if i.label == "_silence_"]
        assert [(i.audio.start, i.audio.end) for i in sliced] == [(0, 16_000), (16_000, 32_000), (32_000, 40_000)]
        assert len({i.id for i in sliced}) == 3
    fresh, fixed = (
        [i.audio for i in TASK.prepare(split, 320, TASK.card.recipes["superb"]).items if i.label == "_silence_"]
        for split in (only.train, only.dev)
    )
    assert [(audio.start, audio.end, audio.crop) for audio in fresh] == [(0, None, 16_000)]
    assert [(audio.end or 0) - audio.start for audio in fixed] == [16_000]
    assert [audio.crop for audio in fixed] == [None]
    assert 0 <= fixed[0].start <= 40_000 - 16_000


@pytest.mark.slow
@pytest.mark.parametrize(("samples", "slices"), [(16_000, 1), (16_100, 1), (17_600, 2), (800, 0), (1_600, 1)])
def test_a_short_last_slice_of_silence_is_dropped(root: Path, samples: int, slices: int) -> None:
    sound(root / "SpeechCommands" / TRAIN / NOISE / "white_noise.wav", samples)
    items = TASK.prepare(fold(root).train, 320, TASK.card.recipes["superb-once"]).items
    assert sum(item.label == "_silence_" for item in items) == slices


def test_both_archives_may_be_at_the_top(root: Path) -> None:
    expected = [item.id for item in fold(root).train.items]
    for name in (TRAIN, TEST):
        (root / "SpeechCommands" / name).rename(root / name)
    (root / "SpeechCommands").rmdir()
    assert [item.id for item in fold(root).train.items] == expected


def test_the_archive_may_be_elsewhere(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (elsewhere,) = TASK.read(Corpora(tmp_path_factory.mktemp("empty"), {"SpeechCommands": root / "SpeechCommands"}))
    assert elsewhere == fold(root)


@pytest.mark.slow
def test_a_listed_file_that_is_missing_is_an_error_that_names_it(root: Path) -> None:
    gone = root / "SpeechCommands" / TRAIN / "bed" / f"{DEV}_nohash_0.wav"
    gone.unlink()
    with pytest.raises(BadCorpus, match=gone.name):
        fold(root)


@pytest.mark.slow
def test_a_folder_without_sounds_is_an_error_and_resource_forks_are_ignored(root: Path) -> None:
    folder = root / "SpeechCommands" / TEST / "yes"
    (folder / "aaaa0000_nohash_0.wav").rename(folder / "._aaaa0000_nohash_0.wav")
    with pytest.raises(BadCorpus, match="yes"):
        fold(root)


def test_an_absent_corpus_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(MissingCorpus, match="SpeechCommands"):
        TASK.read(Corpora(tmp_path))


@pytest.mark.slow
def test_the_head_has_the_published_size(root: Path) -> None:
    head = TASK.head(768, fold(root), TASK.card.recipes["superb"])
    assert sum(weight.numel() for weight in head.parameters()) == 199_948


def test_the_recipes_differ_only_in_the_silence() -> None:
    official, once = TASK.card.recipes["superb"], TASK.card.recipes["superb-once"]
    assert replace(official, options=once.options, fresh_crops=False) == once
