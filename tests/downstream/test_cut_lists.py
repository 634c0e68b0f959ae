"""Lists truncated in the middle of a line, and lists of which many files are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstream.shared.libri2mix import mixtures
from downstream.shared.lists import lines_of, must_be_there
from downstream.shared.quesst import search
from downstream.shared.snips import read_fold
from downstream.shared.voxceleb import VoxCeleb
from superbench import BadCorpus, Corpora, MissingFiles
from superbench.plugins import task

TRIAL = "1 id10270/ccccccccccc/00001.wav id10270/ccccccccccc/00002.wav"
SWAPPED = "1 id10270/ccccccccccc/00002.wav id10270/ccccccccccc/00001.wav"
SPLIT = "1 id10270/ccccccccccc/00001.wav"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# ---------------------------------------------------------------- VoxCeleb1


@pytest.fixture
def celebrities(tmp_path: Path) -> Corpora:
    for name in ("00001", "00002"):
        write(tmp_path / f"VoxCeleb1/test/wav/id10270/ccccccccccc/{name}.wav", "")
    return Corpora(tmp_path)


@pytest.mark.parametrize("kept", [20, 31, 35, 45, 55, 58])
def test_a_truncated_line_of_a_trial_list_is_named(celebrities: Corpora, kept: int) -> None:
    write(celebrities.root / "VoxCeleb1/voxceleb1_test_v2.txt", f"{TRIAL}\n{TRIAL[:kept]}")
    with pytest.raises(BadCorpus, match=r"voxceleb1_test_v2\.txt, line 2: expected"):
        VoxCeleb.under(celebrities).trials()


def test_a_trial_list_without_a_final_newline_is_complete(celebrities: Corpora) -> None:
    write(celebrities.root / "VoxCeleb1/voxceleb1_test_v2.txt", f"{TRIAL}\n{SWAPPED}")
    assert len(VoxCeleb.under(celebrities).trials()) == 2


@pytest.mark.parametrize("kept", [1, 8, 15, 28])
def test_a_truncated_line_of_a_split_list_is_named(celebrities: Corpora, kept: int) -> None:
    write(celebrities.root / "VoxCeleb1/iden_split.txt", f"{SPLIT}\n{SPLIT.replace('00001', '00002')[:kept]}")
    with pytest.raises(BadCorpus, match=r"iden_split\.txt, line 2: expected"):
        VoxCeleb.under(celebrities).identification()


# ---------------------------------------------------------------- QUESST 2014


@pytest.fixture
def queries(tmp_path: Path) -> Corpora:
    scoring = tmp_path / "quesst14Database/scoring"
    write(scoring / "language_key_dev.lst", "q/dev_queries/quesst14_dev_0001.wav nnenglish\n")
    write(scoring / "language_key_utterances.lst", "q/Audio/quesst14_00001.wav nnenglish\nq/Audio/quesst14_00002.wav czech\n")
    write(scoring / "groundtruth_quesst14_dev/quesst14_dev.rttm", "LEXEME quesst14_00001 1 0.00 2.50 quesst14_dev_0001 lex\n")
    return Corpora(tmp_path)


def add(corpora: Corpora, name: str, text: str) -> None:
    path = corpora.root / "quesst14Database/scoring" / name
    path.write_text(path.read_text() + text)


def test_a_truncated_language_is_not_taken_for_another_one(queries: Corpora) -> None:
    assert search(queries, "dev").documents_absent == 1
    add(queries, "language_key_utterances.lst", "q/Audio/quesst14_00003.wav nneng")
    with pytest.raises(BadCorpus, match=r"utterances\.lst is cut off: .*'q/Audio/quesst14_00003\.wav nneng'"):
        search(queries, "dev")


def test_a_list_without_a_final_newline_is_complete(queries: Corpora) -> None:
    add(queries, "language_key_utterances.lst", "q/Audio/quesst14_00003.wav nnenglish")
    add(queries, "groundtruth_quesst14_dev/quesst14_dev.rttm", "LEXEME quesst14_00003 1 0.00 2.50 quesst14_dev_0001 lex")
    assert len(search(queries, "dev").targets) == 2


def test_a_truncated_query_is_not_taken_for_another_one(queries: Corpora) -> None:
    add(queries, "groundtruth_quesst14_dev/quesst14_dev.rttm", "LEXEME quesst14_00001 1 0.00 2.50 quesst14_dev_00")
    with pytest.raises(BadCorpus, match=r"quesst14_dev\.rttm is cut off"):
        search(queries, "dev")


# ---------------------------------------------------------------- Libri2Mix

ID = "1089-134686-0000_121-127105-0031"
TURN = (
    "SPEAKER 1089-134686-0000 1 0.50 1.00 <NA> <NA> 1089 <NA> <NA>\nSPEAKER 121-127105-0031 1 1.00 1.00 <NA> <NA> 121 <NA> <NA>"
)
HEAD = "mixture_ID,mixture_path,source_1_path,source_2_path,noise_path,length\n"
ROW = f"{ID},/elsewhere/{ID}.wav,,,,48000"


@pytest.mark.parametrize(
    ("turns", "rows", "message"),
    [
        (TURN[:-8], ROW, r"dev_clean\.rttm is cut off"),
        (TURN[:-20], ROW, r"dev_clean\.rttm, line 2: expected 8 fields"),
        (f"{TURN}\nSPEAKER 121-127105-0031 1 1.00 one <NA> <NA> 121 <NA> <NA>", ROW, "times in seconds, found '1.00 one'"),
        (TURN, ROW[:-10], r"mixture_dev_mix_both\.csv, line 2: expected 6 fields"),
        (TURN, ROW[:20], r"mixture_dev_mix_both\.csv, line 2: expected 6 fields"),
        (TURN, "", "lists no mixture"),
    ],
)
def test_truncated_references_of_mixtures_are_errors(tmp_path: Path, turns: str, rows: str, message: str) -> None:
    alignments = write(tmp_path / "Libri2Mix/metadata/LibriSpeech/dev_clean.rttm", f"{TURN}\n")
    listing = write(tmp_path / "Libri2Mix/wav16k/max/metadata/mixture_dev_mix_both.csv", f"{HEAD}{ROW}\n")
    assert [item.id for item in mixtures(Corpora(tmp_path), "dev")] == [ID]
    alignments.write_text(turns)
    listing.write_text(HEAD + rows)
    with pytest.raises(BadCorpus, match=message):
        mixtures(Corpora(tmp_path), "dev")


# ---------------------------------------------------------------- the others


@pytest.mark.parametrize("kept", [12, 40, 60, 78, 83])
def test_a_truncated_row_of_commands_is_an_error(tmp_path: Path, kept: int) -> None:
    data = tmp_path / "fluent_speech_commands_dataset/data"
    head, row = (
        ",path,speakerId,transcription,action,object,location\n",
        '7,wavs/speakers/s/a.wav,s,"Do it, please, now and here",change language,none,none',
    )
    for split in ("train", "valid", "test"):
        write(data / f"{split}_data.csv", head + row.replace("a.wav", f"{split}.wav") + "\n")
        write(tmp_path / f"fluent_speech_commands_dataset/wavs/speakers/s/{split}.wav", "")
    assert task("ic").read(Corpora(tmp_path))
    write(data / "valid_data.csv", head + row.replace("a.wav", "valid.wav")[:kept])
    with pytest.raises(BadCorpus, match=r"valid_data\.csv, line 2: "):
        task("ic").read(Corpora(tmp_path))


def test_a_truncated_emotion_is_not_taken_for_another_one(tmp_path: Path) -> None:
    write(tmp_path / "IEMOCAP/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt", "[6.29 - 8.23]\tSes01F_impro01_F000\tne")
    with pytest.raises(BadCorpus, match=r"Ses01F_impro01\.txt, line 1: expected .* ang dis exc fea .*found"):
        task("er").read(Corpora(tmp_path))


def test_a_word_that_is_empty_after_normalisation_keeps_its_label(tmp_path: Path) -> None:
    line = "Ivy-snips-train-0 BOS PLAY  STONE EOS\tO O artist artist PlayMusic\n"
    lines = [line, "Amy-snips-valid-0 BOS GO EOS\tO O X\n", "Emma-snips-test-0 BOS GO EOS\tO O X\n"]
    for split, listed in zip(("train", "valid", "test"), lines, strict=True):
        write(tmp_path / "SNIPS" / split / f"{listed.split()[0]}.wav", "")
    write(tmp_path / "SNIPS/all.iob.snips.txt", "".join(lines))
    assert read_fold(Corpora(tmp_path)).train.items[0].label == (("PLAY", "O"), ("", "artist"), ("STONE", "artist"))


def test_lines_end_at_line_feeds_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "list", "a\u2028b\n\n c\x85d")
    assert list(lines_of(path, "")) == [(1, "a\u2028b"), (3, " c\x85d")]
    assert [number for number, _ in lines_of(path, "", blank=True)] == [1, 2, 3]
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadCorpus, match=r"cannot be read: .* Fetch it again\."):
        list(lines_of(path, "Fetch it again."))


def test_all_files_are_looked_for_before_five_missing_ones_are_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.wav" for n in range(9)]
    paths[4].touch()
    with pytest.raises(
        MissingFiles, match=r"8 of the 9 files listed in the list are not there: .*0\.wav, .*5\.wav … and 3 more"
    ) as caught:
        must_be_there([*paths, *paths], "the list", "Fetch it again.")
    assert len(caught.value.missing) == 8
