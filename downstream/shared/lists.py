"""The lists that come with corpora: their lines, and whether the files that they name are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from superbench import BadCorpus, MissingFiles


def lines_of(path: Path, advice: str, errors: str = "strict", blank: bool = False) -> Iterator[tuple[int, str]]:
    """The lines of a list with their numbers, `blank` ones too or not; raises `BadCorpus` with `advice` if it cannot be read.

    A line ends at a line feed and nowhere else (`str.splitlines` also cuts at characters that occur in titles).
    """
    try:
        with path.open(encoding="utf-8", errors=errors) as file:
            for number, line in enumerate(file, start=1):
                if blank or line.strip():
                    yield number, line.rstrip("\n")
    except FileNotFoundError as error:
        raise BadCorpus(f"{path} is not there. {advice}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadCorpus(f"{path} cannot be read: {error}. {advice}") from error


def must_be_there(paths: Iterable[Path], listing: str, advice: str) -> None:
    """Raise `MissingFiles` if any of the files that a list names is not there: all of them are looked for first."""
    named = list(dict.fromkeys(paths))
    if missing := [path for path in named if not path.is_file()]:
        raise MissingFiles(missing, len(named), listing, advice)
