"""Minimal pairs in the layouts of their releases: which sounds form a pair, and errors for files that do not fit."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from downstream.minimal_pairs import SALMON, SBLIMP, SWUGGY, TSC
from downstream.shared import miniature_pairs
from superbench import BadCorpus, MissingFiles, Pair

WORDS = """filename,id,voice,frequency,word,phones,length,correct
aKd,7,A,12.0,brick,B R IH K,4,1
bKd,7,A,,blick,B L IH K,4,0
cKd,7,B,12.0,brick,B R IH K,4,1
dKd,7,B,,blick,B L IH K,4,0
eKd,9,A,0.0,zebu,Z IY B UW,4,1
fKd,9,A,,zebo,Z IY B OW,4,0
"""
SENTENCES = """id,filename,voice,type,subtype,transcription,correct
1,s1,A,agreement,verb,"the dogs run, again",1
1,s2,A,agreement,verb,"the dogs runs, again",0
1,s3,A,npi,only,only he ever ran,1
1,s4,A,npi,only,he only ever ran even,0
"""


def sounds(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        soundfile.write(folder / f"{name}.wav", np.full(800, 0.1), 16_000)
    return folder


def words(root: Path, text: str = WORDS) -> Path:
    folder = sounds(root / "lexical" / "dev", *(f"{letter}Kd" for letter in "abcdef"))
    (folder / "gold.csv").write_text(text)
    return folder


def named(pairs: list[Pair]) -> list[tuple[str, str, str, str, str]]:
    return [(pair.item, pair.voice, pair.part, pair.right.path.name, pair.wrong.path.name) for pair in pairs]


def test_a_word_and_its_non_word_share_id_and_voice(tmp_path: Path) -> None:
    words(tmp_path)
    assert named([*SWUGGY.read(tmp_path)]) == [
        ("7", "A", "in vocabulary", "aKd.wav", "bKd.wav"), ("7", "B", "in vocabulary", "cKd.wav", "dKd.wav"),
        ("9", "A", "out of vocabulary", "eKd.wav", "fKd.wav"),
    ]  # fmt: skip


def test_sentences_of_several_types_may_share_an_id(tmp_path: Path) -> None:
    (sounds(tmp_path / "syntactic" / "dev", "s1", "s2", "s3", "s4") / "gold.csv").write_text(SENTENCES)
    assert named([*SBLIMP.read(tmp_path)]) == [
        ("agreement verb 1", "A", "agreement", "s1.wav", "s2.wav"), ("npi only 1", "A", "npi", "s3.wav", "s4.wav"),
    ]  # fmt: skip


def test_the_ends_of_a_story_are_found_by_its_name(tmp_path: Path) -> None:
    sounds(
        tmp_path / "tSC", "0_f0a_correct", "1_f0a_incorrect", "2_9-b_c_correct", "3_9-b_c_incorrect", "8_correct", "8_incorrect"
    )
    (tmp_path / "tSC" / "._0_f0a_correct.wav").write_bytes(b"a companion file")
    assert sorted(named([*TSC.read(tmp_path)])) == [
        ("8", "", "", "8_correct.wav", "8_incorrect.wav"), ("9-b_c", "", "", "2_9-b_c_correct.wav", "3_9-b_c_incorrect.wav"),
        ("f0a", "", "", "0_f0a_correct.wav", "1_f0a_incorrect.wav"),
    ]  # fmt: skip


def test_the_first_sound_of_a_sample_is_the_consistent_one(tmp_path: Path) -> None:
    sounds(tmp_path / "rir_consistency", "sample_0_0", "sample_0_1", "sample_10_1", "sample_10_0")
    sounds(tmp_path / "bg_alignment", "sample_0_0", "sample_0_1")
    assert named([*SALMON.read(tmp_path)]) == [
        ("0", "", "bg_alignment", "sample_0_0.wav", "sample_0_1.wav"),
        ("0", "", "rir_consistency", "sample_0_0.wav", "sample_0_1.wav"),
        ("10", "", "rir_consistency", "sample_10_0.wav", "sample_10_1.wav"),
    ]


def test_a_list_that_is_missing_or_malformed_is_named(tmp_path: Path) -> None:
    folder = words(tmp_path)
    (folder / "gold.csv").unlink()
    with pytest.raises(BadCorpus, match=r"gold\.csv is not there\. Download the evaluation data of ZeroSpeech 2021"):
        SWUGGY.read(tmp_path)
    for text, message in (
        (WORDS.replace(",frequency", ",often"), r"has no column frequency"),
        (WORDS.replace("4,0\ncKd", "4,2\ncKd"), r"line 3: expected correct 0 or 1, found '2'"),
        (
            WORDS.replace("fKd,9,A", "fKd,9,B"),
            r"line 6: '9', voice A, has 1 correct and 0 incorrect sounds: a sound has no partner",
        ),
        (WORDS.replace("bKd", "aKd"), r"line 3: aKd is listed twice, first in line 2"),
        (WORDS.rpartition("fKd")[0], r"'9', voice A, has 1 correct and 0 incorrect"),
    ):
        (folder / "gold.csv").write_text(text)
        with pytest.raises(BadCorpus, match=message):
            SWUGGY.read(tmp_path)


def test_a_sound_that_is_missing_is_named(tmp_path: Path) -> None:
    (words(tmp_path) / "dKd.wav").unlink()
    with pytest.raises(MissingFiles, match=r"dKd\.wav is listed in .*gold\.csv but not there"):
        SWUGGY.read(tmp_path)


def test_sounds_without_a_partner_or_with_other_names_are_named(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "tSC", "0_f0a_correct", "1_f0a_incorrect", "2_9bc_correct")
    with pytest.raises(BadCorpus, match=r"2_9bc_correct\.wav has no partner \(no sound of '9bc' ends in _incorrect\.wav\)"):
        TSC.read(tmp_path)
    sounds(folder, "3_9bc_incorrect", "5_9bc_correct")
    with pytest.raises(BadCorpus, match=r"5_9bc_correct\.wav and 2_9bc_correct\.wav are the same side of a pair"):
        TSC.read(tmp_path)
    sounds(folder, "story")
    (folder / "5_9bc_correct.wav").unlink()
    with pytest.raises(BadCorpus, match=r"story\.wav: expected names such as 0_STORY_correct\.wav"):
        TSC.read(tmp_path)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(BadCorpus, match=r"tSC contains no \.wav file"):
        TSC.read(tmp_path)
    sounds(tmp_path / "rir_consistency", "sample_0_0", "sample_0_1", "sample_1_1")
    with pytest.raises(BadCorpus, match=r"sample_1_1\.wav has no partner"):
        SALMON.read(tmp_path)
    sounds(tmp_path / "rir_consistency", "sample_1_positive")
    with pytest.raises(BadCorpus, match=r"expected names such as sample_0_0\.wav and sample_0_1\.wav"):
        SALMON.read(tmp_path)


@pytest.mark.slow
def test_the_miniatures_have_the_same_layouts_and_are_determined_by_the_seed(tmp_path: Path) -> None:
    for folder in ("one", "again"):
        for write in (miniature_pairs.write_words, miniature_pairs.write_sentences, miniature_pairs.write_changes):
            write(tmp_path / folder, 5, 3)
    miniature_pairs.write_words(tmp_path / "other", 6, 3)
    files = {path.relative_to(tmp_path / "one"): path.read_bytes() for path in (tmp_path / "one").rglob("*.*")}
    assert files == {path.relative_to(tmp_path / "again"): path.read_bytes() for path in (tmp_path / "again").rglob("*.*")}
    assert (tmp_path / "one/lexical/dev/gold.csv").read_text() != (tmp_path / "other/lexical/dev/gold.csv").read_text()
    read = {known.name: [*known.read(tmp_path / "one")] for known in (SWUGGY, SBLIMP, SALMON)}
    assert {name: len(pairs) for name, pairs in read.items()} == {"swuggy": 6, "sblimp": 6, "salmon": 6}
    assert {pair.part for pair in read["salmon"]} == {"speaker_consistency", "sentiment_consistency"}
    with (tmp_path / "one/lexical/dev/gold.csv").open() as file:
        rows = [*csv.DictReader(file)]
    known = miniature_pairs.dictionary()
    assert all((row["word"] in known) == (row["correct"] == "1") for row in rows)


@pytest.mark.slow
def test_both_sounds_of_a_change_have_the_same_beginning(tmp_path: Path) -> None:
    miniature_pairs.write_changes(tmp_path, 1, 2)
    for pair in SALMON.read(tmp_path):
        right, wrong = (soundfile.read(audio.path)[0] for audio in (pair.right, pair.wrong))
        same = int(np.argmin(right[: min(len(right), len(wrong))] == wrong[: min(len(right), len(wrong))]))
        assert same > 4_000
        assert len(right) - same > 4_000
