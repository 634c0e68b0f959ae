"""Reads the published results of SUPERB as rows of a board.

`published_scores.csv` has one row per (upstream, source), with each number as in its source; an empty cell is not published.
Sources: the SUPERB paper (Yang et al. 2021, arXiv 2105.01051), the leaderboard's data of April 2022, tables of later papers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from importlib.resources import files

from superbench.results.rows import Cell, Column, Row

SUPERSEDED = {"superb_prelim2021"}
"""The first table of July 2021; it used features of the last layer and was withdrawn within weeks."""

PREFERRED = ("superb_lb2022", "superb2021")
"""The order of the sources if several contain the same upstream. The leaderboard's later numbers come first: its FBANK row is
the one without CMVN on pooled tasks, which the reference points of the SUPERB score use."""


def published(columns: Sequence[Column]) -> list[Row]:
    """Return one row per published upstream, from its preferred source."""
    return [_row(record, columns) for record in preferred(records())]


def superseded(columns: Sequence[Column]) -> list[Row]:
    """Return the rows that `published` omits: withdrawn ones, and rows of the same upstreams from other sources."""
    table = records()
    shown = preferred(table)
    return [_row(record, columns, superseded=True) for record in table if record not in shown]


def records() -> list[dict[str, str]]:
    """Read the table of the package, `published_scores.csv`."""
    with files("superbench.results").joinpath("published_scores.csv").open(encoding="utf8") as file:
        return list(csv.DictReader(file))


def published_order() -> dict[str, int]:
    """Return the place of each published metric (`TaskCard.published`) in the table, which is the order of the SUPERB paper."""
    return {name: place for place, name in enumerate(records()[0])}


def preferred(table: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Return one record per upstream, in the order of the table, without superseded sources."""
    best: dict[str, dict[str, str]] = {}
    for record in table:
        if record["source"] in SUPERSEDED:
            continue
        earlier = best.get(record["upstream"])
        if earlier is None or _rank(record) < _rank(earlier):
            best[record["upstream"]] = record
    return list(best.values())


def _rank(record: dict[str, str]) -> int:
    return PREFERRED.index(record["source"]) if record["source"] in PREFERRED else len(PREFERRED)


def _row(record: dict[str, str], columns: Sequence[Column], *, superseded: bool = False) -> Row:
    cells = {c.key: Cell(float(record[c.published])) for c in columns if c.published and record.get(c.published)}
    return Row(
        name=record["upstream"],
        origin="published",
        kind="spectral" if record["family"] == "spectral" else "published",
        source=record["source"],
        params=round(float(record["params_millions"]) * 1e6) if record["params_millions"] else None,
        macs=float(record["macs"]) if record["macs"] else None,
        hop=round(float(record["stride_ms"]) * 16) if record["stride_ms"] else None,
        cells=cells,
        superseded=superseded,
    )
