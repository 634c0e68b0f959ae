"""The two sides of a comparison: results on disk, or a published row."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from superbench.errors import CommandError
from superbench.results.files import damage, name_of, read_results
from superbench.results.published import published
from superbench.results.result import Result
from superbench.results.rows import Row, columns

PUBLISHED = "published:"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: results by name (`ks`, `ks/few-shot`) with their folders, or a published `row`."""

    name: str
    results: Mapping[str, Result] = field(default_factory=dict)
    places: Mapping[str, Path] = field(default_factory=dict)
    row: Row | None = None
    damaged: Mapping[str, str] = field(default_factory=dict)
    """Task -> the sentence that says how its result was changed since it was written."""

    @property
    def tasks(self) -> list[str]:
        """The names of the results for which this side has a score."""
        return list(self.results) if self.row is None else list(dict.fromkeys(key.split(".")[0] for key in self.row.cells))


def side(text: str) -> Side:
    """Read a side: `published:NAME`, a result.json, its folder, or the folder of an upstream with several results.

    Raises `CommandError` for anything else (with the nearest published names), `BadResult` for a damaged result.
    """
    if text.startswith(PUBLISHED):
        row = _published(text.removeprefix(PUBLISHED).strip())
        return Side(f"{row.name} (published, {row.source})", row=row)
    path = Path(text)
    if path.name == "result.json":
        path = path.parent
    if not path.is_dir():
        raise CommandError(
            f"{text} is not a folder with results. Expected OUT/<upstream>, OUT/<upstream>/<task>, a result.json, or a row of "
            f"the published table such as '{PUBLISHED}HuBERT Base'."
        )
    results = read_results(path)
    names = sorted({result.upstream.name for result in results.values()})
    if len(names) > 1:
        folders = ", ".join(sorted({str(folder.parent) for folder in results})[:4])
        raise CommandError(f"{path} contains results of {len(names)} upstreams. Give the folder of one upstream: {folders}")
    return Side(
        names[0],
        {name_of(result): result for result in results.values()},
        {name_of(result): folder for folder, result in results.items()},
        damaged={name_of(result): reason for folder, result in results.items() if (reason := damage(folder, result))},
    )


def _published(name: str) -> Row:
    rows = {row.name.lower(): row for row in published(columns())}
    if name.lower() in rows:
        return rows[name.lower()]
    near = difflib.get_close_matches(name.lower(), rows, n=3, cutoff=0.4)
    guess = f" Did you mean {_or([PUBLISHED + rows[match].name for match in near])}?" if near else ""
    raise CommandError(
        f"No published row is called {name!r}.{guess} The page that `superbench board` writes shows all {len(rows)}."
    )


def _or(names: Sequence[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)
