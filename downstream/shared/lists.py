"""Reads the lists of corpora: their lines and rows; checks for repeated names and missing files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from superbench import BadCorpus, MissingFiles, read_text

FEW = 5
"""Largest number of names in a message."""


def lines_of(path: Path, advice: str, blank: bool = False) -> Iterator[tuple[int, str]]:
    """Yields the lines of a list with their numbers; blank lines only with `blank`, and none at the end of the file.

    A line ends only at a line feed (`str.splitlines` also cuts at characters that occur in titles). Raises `BadCorpus` with
    `advice` if the list cannot be read.
    """
    text = read_text(path, advice).rstrip()
    for number, line in enumerate(text.split("\n") if text else (), start=1):
        if blank or line.strip():
            yield number, line


def unfinished(path: Path, advice: str) -> str:
    """Returns the text after the last line feed, which may be a line that was cut off.

    Empty if the list ends with a line feed.
    """
    return read_text(path, advice).rpartition("\n")[2]


def rows_of(path: Path, columns: Sequence[str], advice: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the rows of a CSV file as column -> field, with line numbers; rows of empty fields are left out.

    A row is a line. Raises `BadCorpus` with `advice` if one of `columns` is missing, for a row with more or fewer fields than
    the header, and for an unclosed quotation mark.
    """
    head: list[str] = []
    for number, line in lines_of(path, advice):
        fields = _fields(path, number, line, advice)
        if not head:
            head = [name.strip() for name in fields]
            if missing := [column for column in columns if column not in head]:
                raise BadCorpus(f"{path} has no column {', '.join(missing)}; its header is {head}. {advice}")
        elif len(fields) != len(head):
            raise BadCorpus(
                f"{path}, line {number}: expected {len(head)} fields, found {len(fields)}, {line[:200]!r}: the line may be cut "
                f'off, or a quotation mark (") be stray. {advice}'
            )
        elif any(field.strip() for field in fields):
            yield number, dict(zip(head, fields, strict=True))


def _fields(path: Path, number: int, line: str, advice: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise BadCorpus(
            f"{path}, line {number}: expected fields between commas, each in a pair of quotation marks or in none, found "
            f"{line[:200]!r} ({error}). {advice}"
        ) from error


def only_once(named: Iterable[tuple[str, str]], listing: str, what: str, advice: str) -> None:
    """Raises `BadCorpus` if a name occurs twice in pairs of name and location (`line 7`); the message has the locations.

    >>> only_once([("a", "line 1"), ("b", "line 2"), ("a", "line 3")], "the list", "trials", "Fetch it again.")
    Traceback (most recent call last):
    superbench.errors.BadCorpus: the list, line 3: a is listed twice, first in line 1. Fetch it again.
    """
    first: dict[str, str] = {}
    again: list[tuple[str, str]] = []
    total = 0
    for name, location in named:
        total += 1
        if name in first:
            again.append((name, location))
        else:
            first[name] = location
    if len(again) == 1:
        ((name, location),) = again
        raise BadCorpus(f"{listing}, {location}: {name} is listed twice, first in {first[name]}. {advice}")
    if again:
        shown = ", ".join(f"{name} ({location}, first in {first[name]})" for name, location in again[:FEW])
        more = f" … and {len(again) - FEW} more" if len(again) > FEW else ""
        raise BadCorpus(f"{listing}: {len(again)} of {total:,} {what} are repeated: {shown}{more}. {advice}")


def must_be_there(paths: Iterable[Path], listing: str, advice: str) -> None:
    """Raises `MissingFiles` with all missing files if any file that a list names does not exist."""
    named = list(dict.fromkeys(paths))
    if missing := [path for path in named if not path.is_file()]:
        raise MissingFiles(missing, len(named), listing, advice)
