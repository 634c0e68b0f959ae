"""Reading text files of any common encoding. Every list of a corpus is read with this function."""

from __future__ import annotations

import codecs
from pathlib import Path

from superbench.errors import BadCorpus

MARK = "\ufeff"
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path, advice: str = "") -> str:
    """Returns the text of a file without byte-order marks; every line ends with a line feed.

    The file is UTF-8, or UTF-16 if it begins with the byte-order mark of UTF-16. A line that is not valid UTF-8 is decoded as
    Latin-1. Byte-order marks are removed at the start of every line, since some lists were joined from several files. Raises
    `BadCorpus` for a file that cannot be read, and for a NUL byte (with its line number); the message ends with `advice`.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-16") if data.startswith(UTF_16) else _decoded(data)
    except FileNotFoundError as error:
        raise BadCorpus(f"{path} is not there. {advice}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadCorpus(f"{path} cannot be read: {error}. {advice}") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if data and not text.removeprefix(MARK):
        raise BadCorpus(f"{path} cannot be read: it contains only a byte-order mark. {advice}")
    if "\0" in text:
        number = text.count("\n", 0, text.index("\0")) + 1
        raise BadCorpus(
            f"{path}, line {number}: found a NUL byte, expected text. The file is damaged, or in UTF-16 without a byte-order "
            f"mark: save it as UTF-8. {advice}"
        )
    return "\n".join(line.removeprefix(MARK) for line in text.split("\n")) if MARK in text else text


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "\n".join(_line(line) for line in data.split(b"\n"))


def _line(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
