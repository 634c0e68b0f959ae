"""Series of checkpoints: a pattern such as `ckpts/step*.pt` stands for every file that matches it."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from superbench.errors import CommandError
from superbench.system.spelling import by_number


def one_each(pattern: str, text: str) -> dict[str, Path]:
    """Returns the files that match a pattern, in the order of their numbers, each under a short name: what its path has and the
    others have not. Nothing for a path without `*`, `?` or `[`, or of a file that exists.

    `text` is the spec for the message. Raises `CommandError` if no file matches.
    """
    if not glob.has_magic(pattern) or Path(pattern).exists():
        return {}
    paths = sorted(map(Path, glob.glob(pattern, recursive=True)), key=lambda path: by_number(str(path)))
    if not paths:
        raise CommandError(f"{text!r}: no file matches {pattern}. Expected a pattern of files that exist, in quotation marks.")
    return dict(zip(_short(paths), paths, strict=True))


def _short(paths: list[Path]) -> list[str]:
    """Returns the file names without their suffix; if some are equal, the parts of the paths that differ, joined by `-`."""
    names = [path.stem for path in paths]
    if len(set(names)) == len(names):
        return names
    common = len(Path(os.path.commonpath(paths)).parts)
    return ["-".join(path.parts[common:]) for path in paths]
