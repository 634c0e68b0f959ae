"""Corpora with lists in their published form: read correctly, also after the changes that editors make to text files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from downstream.shared.beam import read_lexicon
from downstream.shared.snips import SLOTS
from downstream.shared.text import LetterAlphabet
from superbench import BadCorpus, Corpora, Fold, Task, plugins
from superbench.data.check import Inspector
from superbench.system.progress import Silence

MIX = ("1089-134686-0000_121-127105-0031", "121-127105-0031_2830-3980-0010")
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
PARTS = {"train": ("train-100", "train_clean_100"), "dev": ("dev", "dev_clean"), "test": ("test", "test_clean")}
UTTERANCES = [f"id10{n}/aaaaaaaaaaa/0000{m}.wav" for n in ("001", "002", "270", "271") for m in (1, 2, 3)]
SPEECH = (("1", "HELLO WORLD", "IT'S ONE"), ("2", "ONE WORLD", "HELLO"), ("3", "WORLD", "IT'S"))
SPLITS = ("train-clean-100", "dev-clean", "test-clean")

LIBRISPEECH = {
    f"LibriSpeech/{split}/{who}/10/{who}-10.trans.txt": "".join(f"{who}-10-000{n} {text}\n" for n, text in enumerate(texts))
    for split, (who, *texts) in zip(SPLITS, SPEECH, strict=True)
}
LEXICON = {
    "LibriSpeech/librispeech-lexicon-200k-g2p.txt": "HELLO\tHH AH0 L OW1\nIT'S\tIH1 T S\n",
    "LibriSpeech/librispeech-lexicon-allothers-g2p.txt": "ONE\tW AH1 N\nWORLD\tW ER1 L D\n",
}
LISTS: Mapping[str, Mapping[str, str]] = {
    "asr": LIBRISPEECH,
    "pr": LIBRISPEECH | LEXICON,
    "sf": {
        "SNIPS/all.iob.snips.txt": "Ivy-snips-train-0 BOS PLAY NINA STONE EOS\tO O artist artist PlayMusic\n"
        "Amy-snips-valid-0 BOS TODAY ? EOS\tO timeRange O GetWeather\n"
        "Emma-snips-test-0 BOS IN PARIS EOS\tO O city GetWeather\n",
        "SNIPS/slots.txt": "\n".join(["O", *SLOTS]) + "\n",
    },
    "ic": {
        f"fluent_speech_commands_dataset/data/{split}_data.csv": ",path,speakerId,transcription,action,object,location\n"
        f'0,wavs/speakers/s/{split}0.wav,s,"Do it, please",change language,none,none\n'
        f"1,wavs/speakers/s/{split}1.wav,s,Café lights on,activate,lights,kitchen\n"
        for split in ("train", "valid", "test")
    },
    "sid": {"VoxCeleb1/iden_split.txt": "".join(f"{n % 3 + 1} {name}\n" for n, name in enumerate(UTTERANCES))},
    "asv": {
        "VoxCeleb1/voxceleb1_test_v2.txt": "".join(
            f"{int(one[:7] == two[:7])} {one} {two}\n" for one in UTTERANCES[6:8] for two in UTTERANCES[8:]
        )
    },
    "ks": {
        f"SpeechCommands/speech_commands_v0.01/{name}": f"yes/{speaker}_nohash_0.wav\nbed/{speaker}_nohash_0.wav\n"
        for name, speaker in (("validation_list.txt", "026290a7"), ("testing_list.txt", "0c40e715"))
    },
    "er": {
        f"IEMOCAP/Session{n}/dialog/EmoEvaluation/Ses0{n}F_impro01.txt": "% [START_TIME - END_TIME] TURN_NAME EMOTION\n"
        f"\n[6.29 - 8.23]\tSes0{n}F_impro01_F000\tneu\t[2.5, 2.5, 2.5]\nC-E2:\tNeutral;\t(déjà)\n"
        f"[9.0 - 9.5]\tSes0{n}F_impro01_M000\tsad\t[2.5, 2.5, 2.5]\n"
        for n in range(1, 6)
    },
    "qbe": {
        "quesst14Database/scoring/language_key_utterances.lst": "q/Audio/quesst14_00001.wav nnenglish\n"
        "q/Audio/quesst14_00002.wav nnenglish\nq/Audio/quesst14_00003.wav czech\n"
    }
    | {
        f"quesst14Database/scoring/language_key_{split}.lst": f"q/{split}_queries/quesst14_{split}_0001.wav nnenglish\n"
        for split in ("dev", "eval")
    }
    | {
        f"quesst14Database/scoring/groundtruth_quesst14_{split}/quesst14_{split}.rttm": "LEXEME quesst14_00001 1 0.000 10.17 "
        f"NO_KEYWORD lex SELF <NA>\nLEXEME quesst14_00002 1 0.000 4.20 quesst14_{split}_0001 lex SELF <NA>\n"
        "LEXEME quesst14_00003 1 0.000 7.05 NO_KEYWORD lex SELF <NA>\n"
        for split in ("dev", "eval")
    },
    "sd": {
        f"Libri2Mix/metadata/LibriSpeech/{alignments}.rttm": "SPEAKER 134686-0000 1 0.21 1.42 <NA> <NA> 1089 <NA> <NA>\n"
        "SPEAKER 127105-0031 1 0.50 0.40 <NA> <NA> 121 <NA> <NA>\nSPEAKER 3980-0010 1 1.00 0.50 <NA> <NA> 2830 <NA> <NA>\n"
        for _, alignments in PARTS.values()
    }
    | {
        f"Libri2Mix/wav16k/max/metadata/mixture_{part}_mix_both.csv": "mixture_ID,mixture_path,source_1_path,source_2_path,"
        "noise_path,length\n" + "".join(f"{mix},/x/{mix}.wav,/x/s1.wav,/x/s2.wav,/x/n.wav,32000\n" for mix in MIX)
        for part, _ in PARTS.values()
    },
}
"""The lists of each task by path, in the form of the published ones."""

KS = [f"SpeechCommands/speech_commands_v0.01/{word}/{speaker}_nohash_0" for word in (*WORDS, "bed") for speaker in ("026290a7", "0c40e715", "0165e0e8")]  # fmt: skip  # noqa: E501
SOUNDS: Mapping[str, list[str]] = {
    "asr": [f"{Path(path).parent}/{line.split()[0]}.flac" for path, text in LIBRISPEECH.items() for line in text.splitlines()],
    "sf": ["SNIPS/train/Ivy-snips-train-0.wav", "SNIPS/valid/Amy-snips-valid-0.wav", "SNIPS/test/Emma-snips-test-0.wav"],
    "ic": [f"fluent_speech_commands_dataset/wavs/speakers/s/{s}{n}.wav" for s in ("train", "valid", "test") for n in (0, 1)],
    "sid": [f"VoxCeleb1/wav/{name}" for name in UTTERANCES],
    "asv": [f"VoxCeleb1/wav/{name}" for name in UTTERANCES],
    "ks": [f"{name}.wav" for name in KS]
    + [f"SpeechCommands/speech_commands_test_set_v0.01/{name}/a.wav" for name in (*WORDS, "_unknown_", "_silence_")]
    + ["SpeechCommands/speech_commands_v0.01/_background_noise_/pink_noise.wav"],
    "er": [f"IEMOCAP/Session{n}/sentences/wav/Ses0{n}F_impro01/Ses0{n}F_impro01_{s}000.wav" for n in range(1, 6) for s in "FM"],
    "qbe": [f"quesst14Database/Audio/quesst14_0000{n}.wav" for n in (1, 2)]
    + [f"quesst14Database/{split}_queries/quesst14_{split}_0001.wav" for split in ("dev", "eval")],
    "sd": [f"Libri2Mix/wav16k/max/{part}/mix_both/{mix}.wav" for part, _ in PARTS.values() for mix in MIX],
}
NAMES = sorted(LISTS)


def written(root: Path, name: str) -> Corpora:
    """The small corpus of a task."""
    for path, text in LISTS[name].items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for path in SOUNDS["asr" if name == "pr" else name]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / path, np.full(1_600, 0.1), 8_000 if name == "qbe" else 16_000)
    return Corpora(root)


def folds(name: str, corpora: Corpora) -> tuple[Fold, ...]:
    return plugins.task(name).read(corpora)


def edited(corpora: Corpora, name: str, edit: Callable[[bytes], bytes], end: str = "") -> list[Path]:
    paths = [corpora.root / path for path in LISTS[name] if path.endswith(end)]
    for path in paths:
        path.write_bytes(edit(path.read_bytes()))
    return paths


MARK = b"\xef\xbb\xbf"
EDITORS: Mapping[str, Callable[[bytes], bytes]] = {
    "mark": lambda text: MARK + text,
    "windows": lambda text: text.replace(b"\n", b"\r\n"),
    "mark and windows": lambda text: MARK + text.replace(b"\n", b"\r\n"),
    "old mac": lambda text: text.replace(b"\n", b"\r"),
    "utf-16": lambda text: text.decode().encode("utf-16"),
    "latin-1": lambda text: text.decode().encode("latin-1"),
    "joined": lambda text: MARK + text.replace(b"\n", b"\n" + MARK, 1),
    "empty lines at the end": lambda text: text + b"\n\r\n  \n",
    "no last line end": lambda text: text.rstrip(),
}


@pytest.mark.slow
@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("name", NAMES)
def test_lists_read_the_same_after_changes_by_editors(tmp_path: Path, name: str, editor: str) -> None:
    corpora = written(tmp_path, name)
    plain = folds(name, corpora)
    assert edited(corpora, name, EDITORS[editor])
    assert folds(name, corpora) == plain


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_nul_byte_in_any_list_names_file_and_line(tmp_path: Path, name: str) -> None:
    corpora = written(tmp_path, name)
    for path in LISTS[name]:
        file, text = corpora.root / path, (corpora.root / path).read_bytes()
        file.write_bytes(text[:-1] + b"\0\n")
        with pytest.raises(BadCorpus, match=rf"{file.name}, line {text.count(10)}: found a NUL byte"):
            folds(name, corpora)
        file.write_bytes(text)


def checked(corpora: Corpora, name: str) -> tuple[str, tuple[str, ...]]:
    """What `data check` says of a corpus whose counts are those of its card."""
    task = plugins.task(name)
    without_counts: Task = replace(task, card=replace(task.card, counts={}))
    report = Inspector(corpora, Silence()).inspect(without_counts)
    return report.state, report.remarks


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_data_check_finds_corpora_in_true_form_complete(tmp_path: Path, name: str) -> None:
    corpora = written(tmp_path, name)
    edited(corpora, name, EDITORS["mark and windows"])
    state, remarks = checked(corpora, name)
    assert state == "complete"
    assert [remark[:12] for remark in remarks] == {"sd": ["one speaker "], "er": ["the dev sets"]}.get(name, [])


@pytest.mark.parametrize("editor", EDITORS)
def test_the_lexicon_of_a_language_model_reads_the_same_after_changes_by_editors(tmp_path: Path, editor: str) -> None:
    text = b"HELLO\tH E L L O |\nWORLD\tW O R L D |\n"
    (tmp_path / "librispeech_lexicon.lst").write_bytes(EDITORS[editor](text))
    lexicon = read_lexicon(tmp_path / "librispeech_lexicon.lst", LetterAlphabet().symbols)
    assert lexicon == {"HELLO": [[*"HELLO|"]], "WORLD": [[*"WORLD|"]]}


# ---------------------------------------------------------------- quotation marks


CSV = "fluent_speech_commands_dataset/data/valid_data.csv"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('1,wavs/speakers/s/valid1.wav,s,"Lights on,activate,lights,kitchen', "line 3: expected fields between commas"),
        ('1,wavs/speakers/s/valid1.wav,s,"Lights" on,activate,lights,kitchen', "line 3: expected fields between commas"),
        ('1,"wavs/speakers/s/valid1.wav,s",Lights on,activate,lights,kitchen', "line 3: expected 7 fields, found 6"),
        ("1,wavs/speakers/s/valid1.wav,s,Lights, on,activate,lights,kitchen", "line 3: expected 7 fields, found 8"),
    ],
)
def test_a_stray_quotation_mark_or_comma_names_the_line(tmp_path: Path, row: str, message: str) -> None:
    corpora = written(tmp_path, "ic")
    head, valid_row, _ = (tmp_path / CSV).read_text().splitlines()
    (tmp_path / CSV).write_text("\n".join([head, valid_row, row, valid_row]))
    with pytest.raises(BadCorpus, match=rf"valid_data\.csv, {message}"):
        folds("ic", corpora)


def test_a_quotation_mark_inside_a_field_and_rows_of_empty_fields_are_harmless(tmp_path: Path) -> None:
    corpora = written(tmp_path, "ic")
    plain = folds("ic", corpora)
    edited(corpora, "ic", lambda text: text.replace(b"lights on", b'lights "on"') + b",,,,,,\n")
    assert folds("ic", corpora) == plain


def test_columns_are_found_by_name_with_or_without_the_index_of_pandas(tmp_path: Path) -> None:
    corpora = written(tmp_path, "ic")
    plain = folds("ic", corpora)
    edited(corpora, "ic", lambda text: b"".join(line.partition(b",")[2] for line in text.splitlines(keepends=True)))
    assert folds("ic", corpora) == plain


# ---------------------------------------------------------------- upper and lower case


def lowered(text: bytes) -> bytes:
    """LibriSpeech and its lexicon as in re-issues: everything but the ids in lower case."""
    return text.lower()


@pytest.mark.parametrize("name", ["asr", "pr"])
def test_transcripts_in_lower_case_are_upper_cased_and_the_passport_says_so(tmp_path: Path, name: str) -> None:
    corpora = written(tmp_path, name)
    (plain,) = folds(name, corpora)
    edited(corpora, name, lowered, ".trans.txt")
    (fold,) = folds(name, corpora)
    assert replace(fold, remarks=()) == plain
    assert fold.remarks == ("6 of 6 transcripts hold lower-case letters and were upper-cased, as in s3prl",)
    assert checked(corpora, name) == ("complete", (f"{fold.remarks[0]}.",))


def test_a_lexicon_in_lower_case_is_accepted(tmp_path: Path) -> None:
    corpora = written(tmp_path, "pr")
    (plain,) = folds("pr", corpora)
    edited(corpora, "pr", lowered, "allothers-g2p.txt")
    (fold,) = folds("pr", corpora)
    assert fold.train.items == plain.train.items
    assert fold.remarks == ("2 of 4 lines that were used of the lexicon hold lower-case letters and were upper-cased",)


@pytest.mark.parametrize("words", [b"HELLO, 2 U", b"HELLO\xc3\x89", b"HELLO|WORLD", "IT’S".encode()])
def test_characters_that_asr_cannot_write_are_counted_named_and_refused(tmp_path: Path, words: bytes) -> None:
    corpora = written(tmp_path, "asr")
    edited(corpora, "asr", lambda text: text.replace(b"ONE WORLD", words))
    with pytest.raises(BadCorpus, match=r"\d characters? in 1 of 6 texts .* not in the alphabet: .*; first in 2-10-0000, '"):
        folds("asr", corpora)


def test_slots_and_words_of_snips_in_lower_case_are_read_as_published(tmp_path: Path) -> None:
    corpora = written(tmp_path, "sf")
    (plain,) = folds("sf", corpora)
    edited(corpora, "sf", lambda text: re.sub(rb"(?m)(?<= ).*$", lambda match: match[0].lower(), text), ".iob.snips.txt")
    (fold,) = folds("sf", corpora)
    assert replace(fold, remarks=()) == plain
    assert fold.remarks == (
        "3 lines of all.iob.snips.txt hold words or slots in another case, which were read as in the published list",
    )


def test_characters_that_sf_cannot_write_are_counted_and_named(tmp_path: Path) -> None:
    """The published list has such words too ("la mejor música"); they are `<unk>` there and here."""
    corpora = written(tmp_path, "sf")
    edited(corpora, "sf", lambda text: text.replace(b"NINA STONE", "MÚSICA R2".encode()))
    (fold,) = folds("sf", corpora)
    assert fold.remarks == (
        "2 characters in 1 of 3 texts are not in the alphabet: 'Ú' (1), '2' (1); first in Ivy-snips-train-0, "
        "'PLAY MÚSICA R2'; each is <unk> in the references, as in s3prl",
    )


# ---------------------------------------------------------------- listed twice


def test_repeated_trials_are_counted_and_named_where_they_are_read(tmp_path: Path) -> None:
    corpora = written(tmp_path, "asv")
    edited(corpora, "asv", lambda text: text + b"".join(text.splitlines(keepends=True)[:6]))
    (text,) = LISTS["asv"].values()
    with pytest.raises(BadCorpus, match=r"voxceleb1_test_v2\.txt: 6 of 14 trials are repeated: .* \(line 9, first in line 1\)"):
        folds("asv", corpora)
    state, remarks = checked(corpora, "asv")
    assert state == "damaged"
    assert "… and 1 more. Fetch the list again." in remarks[0]
    edited(
        corpora, "asv", lambda _: text.encode() + b"1 %s %s\n" % tuple(name.encode() for name in (UTTERANCES[8], UTTERANCES[6]))
    )
    assert len(folds("asv", corpora)[0].test.trials) == 9  # a pair in the other order is another trial


@pytest.mark.parametrize("name", ["sid", "ic", "sf", "er", "asr", "qbe", "sd"])
def test_a_repeated_line_is_named_in_every_list(tmp_path: Path, name: str) -> None:
    corpora = written(tmp_path, name)
    ends = (".csv", ".trans.txt", ".iob.snips.txt", ".lst", "split.txt", "01.txt")
    path = next(path for path in LISTS[name] if path.endswith(ends))
    text = (corpora.root / path).read_text()
    last = [line for line in text.splitlines() if line][-1]
    (corpora.root / path).write_text(f"{text}{last}\n")
    with pytest.raises(BadCorpus, match=r"line \d+: .* is listed twice, first in .*line \d"):
        folds(name, corpora)


# ---------------------------------------------------------------- Libri2Mix and QUESST


@pytest.mark.slow
def test_a_kaldi_folder_keeps_both_speakers_of_one_segment_id(tmp_path: Path) -> None:
    """As `2518-154825-0000_6437-66173-0019` has it: both begin and end in the same millisecond."""
    corpora = written(tmp_path, "sd")
    edited(corpora, "sd", lambda text: text.replace(b"0.50 0.40", b"0.21 1.42"), ".rttm")
    plain = folds("sd", corpora)
    starts = {"1089": (0.21, 0.21 + 1.42), "121": (0.21, 0.21 + 1.42), "2830": (1.0, 1.5)}
    rows = [(mix, speaker, *starts[speaker]) for mix in MIX for speaker in (part.split("-")[0] for part in mix.split("_"))]
    names = [f"{mix}_{int(start * 1000):06d}_{int(end * 1000):06d}" for mix, _, start, end in rows]
    assert len(set(names)) == 3
    for split in PARTS:
        folder = tmp_path / "Libri2Mix/data" / split
        folder.mkdir(parents=True)
        (folder / "wav.scp").write_text("".join(f"{mix} /elsewhere/{mix}.wav\n" for mix in MIX))
        (folder / "utt2spk").write_text("".join(f"{n} {speaker}\n" for n, (_, speaker, *_) in zip(names, rows, strict=True)))
        lines = [f"{n} {mix} {start} {end}\n" for n, (mix, _, start, end) in zip(names, rows, strict=True)]
        (folder / "segments").write_text("".join(lines))
    assert folds("sd", corpora) == plain
    assert {speaker for *_, speaker in plain[0].test.items[0].label.turns} == {"1089", "121"}
    for path in sorted((tmp_path / "Libri2Mix/data").glob("*/*")):
        text = path.read_bytes()
        for edit in EDITORS.values():
            path.write_bytes(edit(text))
            assert folds("sd", corpora) == plain
        path.write_bytes(text)
    for split in PARTS:  # sorted, repeated lines dropped, as programs of Kaldi leave a folder
        for name in ("segments", "utt2spk"):
            path = tmp_path / "Libri2Mix/data" / split / name
            path.write_text("".join(sorted(set(path.read_text().splitlines(keepends=True)))))
    assert folds("sd", corpora) == plain


def test_recordings_with_the_whole_name_are_read_too(tmp_path: Path) -> None:
    corpora = written(tmp_path, "sd")
    plain = folds("sd", corpora)
    edited(corpora, "sd", lambda text: text.replace(b"SPEAKER 134686", b"SPEAKER 1089-134686"), ".rttm")
    assert folds("sd", corpora) == plain


def test_documents_without_a_query_are_no_trials_and_change_no_reference(tmp_path: Path) -> None:
    corpora = written(tmp_path, "qbe")
    (fold,) = folds("qbe", corpora)
    assert [(trial.id, trial.reference) for trial in fold.dev.trials] == [
        ("quesst14_dev_0001|quesst14_00001", 0), ("quesst14_dev_0001|quesst14_00002", 1),
    ]  # fmt: skip
    assert fold.dev.facts == {"queries_absent": 0, "documents_absent": 1}
    edited(corpora, "qbe", lambda text: b"".join(line for line in text.splitlines(True) if b"NO_KEYWORD" not in line), ".rttm")
    assert folds("qbe", corpora) == (fold,)


def test_a_query_that_is_twice_in_a_document_counts_once(tmp_path: Path) -> None:
    corpora = written(tmp_path, "qbe")
    plain = folds("qbe", corpora)
    edited(corpora, "qbe", lambda text: text + text, ".rttm")
    assert folds("qbe", corpora) == plain
