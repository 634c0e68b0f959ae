"""Lists of a person's own sounds: what is read from each format, and one clear sentence for each fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from superbench import BadCorpus, read_manifest

ROWS = [
    ("a.wav", "yes", "train", "s1"),
    ("b.wav", "no", "train", "s2"),
    ("c.wav", "yes", "dev", "s3"),
    ("d.wav", "no", "test", "s4"),
]
HEAD = "path,label,split,speaker"


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Write a table and (empty) files for the sounds that ROWS lists."""
    for name, *_ in ROWS:
        (tmp_path / name).touch()

    def write(*rows: tuple[str, ...], head: str = HEAD, encoding: str = "utf-8") -> Path:
        path = tmp_path / "list.csv"
        path.write_text("\n".join([head, *(",".join(row) for row in rows or ROWS)]) + "\n", encoding=encoding)
        return path

    return write


def test_a_table_becomes_a_fold(table: Callable[..., Path], tmp_path: Path) -> None:
    fold = read_manifest(table()).fold()
    assert [item.id for item in fold.train.items] == ["a.wav", "b.wav"]
    (item,) = fold.test.items
    assert (item.audio.path, item.label, item.group) == (tmp_path / "d.wav", "no", ("s4",))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_an_encoding_mark_is_no_part_of_the_first_column(table: Callable[..., Path], encoding: str) -> None:
    assert len(read_manifest(table(encoding=encoding)).rows) == 4


def test_other_names_of_splits_and_other_columns_are_read(table: Callable[..., Path]) -> None:
    rows = [("a.wav", "x", "Train", "s1", "5"), ("b.wav", "x", "validation", "s2", "5"), ("c.wav", "x", "eval", "s3", "5")]
    assert [row.split for row in read_manifest(table(*rows, head=HEAD + ",age")).rows] == ["train", "dev", "test"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("a.wav", "x", "train", "s"), ("gone.wav", "x", "dev", "t")], "line 3: .*gone.wav is not there"),
        ([("a.wav", "x", "training", "s")], "line 2: found the split 'training'; a split is train, dev"),
        ([("a.wav", "", "train", "s")], "line 2: expected a text as label, it is empty"),
        ([("a.wav", "x", "train", "s"), ("./a.wav", "x", "dev", "t")], "line 3: ./a.wav is listed twice, first in line 2"),
        ([("a.wav", "x", "train", "s"), ("b.wav", "x", "dev", "t")], "has no row of the split test"),
        ([*ROWS[:3], ("d.wav", "no", "test", "s1")], "line 5: the speaker 's1' is in test, and in train in line 2"),
        ([("a.wav", "x", "train")], "line 2: expected 4 fields, found 3"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_line(table: Callable[..., Path], rows: list[tuple[str, ...]], said: str) -> None:
    with pytest.raises(BadCorpus, match=said):
        read_manifest(table(*rows))


def test_a_missing_column_is_named(table: Callable[..., Path]) -> None:
    with pytest.raises(BadCorpus, match="line 1: the header has no column speaker; it has path, label, split, who"):
        read_manifest(table(head="path,label,split,who"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path;label;split;speaker\n", "The fields are separated by ';'; save the table with commas"),
        ("path,label,split,speaker,path\n", "line 1: the header has the column path twice"),
        ("", "lists no sound: the file is empty"), ("path,label,split,speaker\n", "it has no row below its header"),
    ],
)  # fmt: skip
def test_a_table_without_rows_or_with_another_header_is_named_as_such(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(BadCorpus, match=said):
        read_manifest(tmp_path / "list.csv")


def test_an_empty_folder_of_kaldi_is_named_as_such(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        (tmp_path / "list" / split).mkdir(parents=True)
        for name in ("wav.scp", "utt2spk", "utt2label"):
            (tmp_path / "list" / split / name).write_text("")
    with pytest.raises(BadCorpus, match=r"its splits have no lines in wav\.scp"):
        read_manifest(tmp_path / "list")


def test_shared_speakers_can_be_allowed(table: Callable[..., Path]) -> None:
    rows = [*ROWS[:3], ("d.wav", "no", "test", "s1")]
    assert len(read_manifest(table(*rows), shared_speakers=True).rows) == 4


def test_a_label_that_train_lacks_is_an_error_and_one_that_test_lacks_a_remark(table: Callable[..., Path]) -> None:
    manifest = read_manifest(table())
    assert manifest.label_remarks({row.id: [row.label] for row in manifest.rows}) == (
        "dev has no example of no", "test has no example of yes",
    )  # fmt: skip
    manifest = read_manifest(table(*ROWS[:3], ("d.wav", "maybe", "test", "s4")))
    with pytest.raises(BadCorpus, match="line 5: the label 'maybe' is in test, but train has no example"):
        manifest.label_remarks({row.id: [row.label] for row in manifest.rows})


def test_json_lines_are_read_and_a_bad_line_is_named(table: Callable[..., Path], tmp_path: Path) -> None:
    table()
    path = tmp_path / "list.jsonl"
    lines = [json.dumps(dict(zip(HEAD.split(","), row, strict=True))) for row in ROWS]
    path.write_text("\n".join(lines))
    assert [row.speaker for row in read_manifest(path).rows] == ["s1", "s2", "s3", "s4"]
    path.write_text("\n".join([*lines, '{"path": "a.wav"']))
    with pytest.raises(BadCorpus, match="line 5: not a line of JSON"):
        read_manifest(path)
    path.write_text('{"path": "a.wav", "label": "x", "split": "train"}')
    with pytest.raises(BadCorpus, match="line 1: it has no speaker"):
        read_manifest(path)


@pytest.fixture
def kaldi(tmp_path: Path) -> Path:
    """Three folders of Kaldi, that of dev with segments."""
    for split, speaker in (("train", "s1"), ("dev", "s2"), ("test", "s3")):
        folder = tmp_path / "kaldi" / split
        folder.mkdir(parents=True)
        (folder / "r.wav").touch()
        (folder / "wav.scp").write_text(f"{'rec' if split == 'dev' else f'{speaker}-u'} r.wav\n")
        (folder / "text").write_text(f"{speaker}-u HELLO  THERE\n")
        (folder / "utt2spk").write_text(f"{speaker}-u {speaker}\n")
    (tmp_path / "kaldi/dev/segments").write_text("s2-u rec 0.5 1.25\n")
    return tmp_path / "kaldi"


def test_folders_of_kaldi_are_read_with_their_segments(kaldi: Path) -> None:
    train, dev, _ = sorted(read_manifest(kaldi).rows, key=lambda row: row.speaker)
    assert (train.id, train.label, train.split, train.speaker) == ("s1-u", "HELLO  THERE", "train", "s1")
    assert (dev.path, dev.start, dev.end) == (kaldi / "dev/r.wav", 8_000, 20_000)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("train/wav.scp", "s1-u sph2pipe x.sph |\n", r"wav.scp, line 1: found a command .*Commands are not run"),
        ("train/utt2spk", "other s1\n", r"text, line 1: s1-u is not in .*utt2spk"),
        ("train/text", "s1-u\n", r"text, line 1: expected a label after s1-u"),
        ("dev/segments", "s2-u rec 2 1\n", r"segments, line 1: expected 0 ≤ start < end"),
    ],
)
def test_a_fault_of_kaldi_folders_is_named(kaldi: Path, file: str, text: str, said: str) -> None:
    (kaldi / file).write_text(text)
    with pytest.raises(BadCorpus, match=said):
        read_manifest(kaldi)
