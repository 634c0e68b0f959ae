"""Text files of any common encoding are read correctly; an error names a file that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from superbench import BadCorpus, CommandError, Corpora, read_text

TEXT = "one\ntwo\n\nthree é\n"
MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        MARK + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-be").replace(b"\0o\0n", b"\xfe\xff\0o\0n", 1),
        TEXT.encode("latin-1"),
        MARK + TEXT.replace("\n", "\r\n").encode("latin-1"),
        TEXT.encode().replace(b"two", MARK + b"two"),  # two files with marks, joined
    ],
    ids=["plain", "mark", "windows", "old mac", "utf-16-le", "utf-16-be", "latin-1", "mark, windows, latin-1", "joined"],
)
def test_marks_line_ends_and_encodings_change_no_text(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "list"
    path.write_bytes(data)
    assert read_text(path) == TEXT


def test_each_line_has_its_own_encoding(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes("é\n".encode() + "é\n".encode("latin-1"))
    assert read_text(path) == "é\né\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"one\r\ntwo\0\r\n", "line 2: found a NUL byte"),
        ("one\ntwo\n".encode("utf-16-le"), "line 1: found a NUL byte"),  # UTF-16 that does not say so
        (b"\xff\xfeo\0n", "cannot be read: .*truncated"),
        (b"\xff\xfe", "cannot be read: it contains only a byte-order mark"),
        (MARK, "cannot be read: it contains only a byte-order mark"),
    ],
)
def test_what_is_no_text_names_file_and_line_and_says_what_to_do(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "list"
    path.write_bytes(data)
    with pytest.raises(BadCorpus, match=rf"{path}.*{says}.*Fetch it again\."):
        read_text(path, "Fetch it again.")


def test_an_absent_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadCorpus, match=r"nowhere is not there\. Fetch it"):
        read_text(tmp_path / "nowhere", "Fetch it.")
    with pytest.raises(BadCorpus, match=r"cannot be read: .*directory.* Fetch it"):
        read_text(tmp_path, "Fetch it.")


@pytest.mark.parametrize("data", [MARK + b'[data]\r\nLexicon = "w\xc3\xb6rter"\r\n', b'[data]\nlexicon = "w\xf6rter"\n'])
def test_places_of_corpora_are_read_like_any_list(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "superbench.toml").write_bytes(data)
    assert Corpora.at(tmp_path).places == {"lexicon": tmp_path / "wörter"}


def test_settings_that_are_no_text_are_a_wrong_command(tmp_path: Path) -> None:
    (tmp_path / "superbench.toml").write_bytes(b"[data]\n\0")
    with pytest.raises(CommandError, match=r"superbench\.toml, line 2: found a NUL byte"):
        Corpora.at(tmp_path)
