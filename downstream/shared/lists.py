"""The lists that come with corpora: their lines and rows, what they name twice, and whether what they name is there."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from superbench import BadCorpus, MissingFiles, read_text

FEW = 5
"""How many of many are named."""


def lines_of(path: Path, advice: str, blank: bool = False) -> Iterator[tuple[int, str]]:
    """The lines of a list with their numbers, `blank` ones too or not, but none after the last that holds something.

    A line ends at a line feed and nowhere else (`str.splitlines` also cuts at characters that occur in titles). Raises
    `BadCorpus` with `advice` if the list cannot be read.
    """
    text = read_text(path, advice).rstrip()
    for number, line in enumerate(text.split("\n") if text else (), start=1):
        if blank or line.strip():
            yield number, line


def unfinished(path: Path, advice: str) -> str:
    """What stands behind the last line end: a line that may be cut off; empty where the list ends with a line end."""
    return read_text(path, advice).rpartition("\n")[2]


def rows_of(path: Path, columns: Sequence[str], advice: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file by the names in its head, with the numbers of their lines; rows of empty fields are left out.

    A row is a line. Raises `BadCorpus` with `advice` if one of `columns` is not there, for a row with more or fewer fields than
    the head, and for a quotation mark that opens and does not close.
    """
    head: list[str] = []
    for number, line in lines_of(path, advice):
        fields = _fields(path, number, line, advice)
        if not head:
            head = [name.strip() for name in fields]
            if missing := [column for column in columns if column not in head]:
                raise BadCorpus(f"{path} has no column {', '.join(missing)}; its head says {head}. {advice}")
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
    """Raise `BadCorpus` if a name occurs twice among pairs of a name and its place (`line 7`): how many do, and where.

    >>> only_once([("a", "line 1"), ("b", "line 2"), ("a", "line 3")], "the list", "trials", "Fetch it again.")
    Traceback (most recent call last):
    superbench.errors.BadCorpus: the list, line 3: a is listed twice, first in line 1. Fetch it again.
    """
    first: dict[str, str] = {}
    again: list[tuple[str, str]] = []
    total = 0
    for name, place in named:
        total += 1
        if name in first:
            again.append((name, place))
        else:
            first[name] = place
    if len(again) == 1:
        ((name, place),) = again
        raise BadCorpus(f"{listing}, {place}: {name} is listed twice, first in {first[name]}. {advice}")
    if again:
        some = ", ".join(f"{name} ({place}, first in {first[name]})" for name, place in again[:FEW])
        more = f" … and {len(again) - FEW} more" if len(again) > FEW else ""
        raise BadCorpus(f"{listing}: {len(again)} of {total:,} {what} are repeated: {some}{more}. {advice}")


def must_be_there(paths: Iterable[Path], listing: str, advice: str) -> None:
    """Raise `MissingFiles` if any of the files that a list names is not there: all of them are looked for first."""
    named = list(dict.fromkeys(paths))
    if missing := [path for path in named if not path.is_file()]:
        raise MissingFiles(missing, len(named), listing, advice)
