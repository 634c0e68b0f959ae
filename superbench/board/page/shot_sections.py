"""The sections of the page for protocols that train nothing: for every K, the scores, the chance-centred means and the places;
and the rank correlation with the probes of the same models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from superbench.board.page import details
from superbench.board.page.contents import MOST_PAIRS, note_of, title_of
from superbench.board.page.counted import Origins, is_hidden, submissions_of
from superbench.contract import Shots
from superbench.results import shots, significance
from superbench.results.checkpoints import series_of
from superbench.results.grouping import apart
from superbench.results.rank_correlation import Correlation, rank_correlation
from superbench.results.ranking import leaders
from superbench.results.rows import Cell, Column, Group, Row
from superbench.results.significance import Standing, Standings

MEAN = "mean"
"""The key of the chance-centred mean among those of the columns."""


def sections(groups: Sequence[Group], columns: Sequence[Column], origins: Origins | None = None) -> list[dict[str, Any]]:
    """Returns a section for each group of a protocol that trains nothing; the other groups are the probes beside it.

    `origins`: who submitted the results.
    """
    probes = [group for group in groups if not shots.is_untrained(group)]
    first: dict[tuple[str, str], Group] = {}
    found = []
    for number, group in enumerate(group for group in groups if shots.is_untrained(group)):
        reason = apart(group, first.setdefault((group.protocol, group.corpora), group))
        found.append(_section(group, columns, probes, number, origins or {}) | {"reason": reason})
    return found


def _section(group: Group, columns: Sequence[Column], probes: Sequence[Group], number: int, origins: Origins) -> dict[str, Any]:
    every, series = shots.shots_in(group.rows), series_of(group.rows)
    place = {(row.name, row.revision, id(row.results)): i for i, row in enumerate(group.rows)}
    beside = _probes_of(group, probes)
    return {
        "key": f"{group.protocol}-{number}", "protocol": group.protocol, "title": title_of(group), "note": note_of(group),
        "rows": [_row(row, series.get(id(row)), origins) for row in group.rows],
        "controls": shots.controls_in(group.rows),
        "probes": title_of(beside) if beside else None,
        "shots": [_at(shots.at(group, k, columns), k, columns, place, beside) for k in every],
    }  # fmt: skip


def _row(row: Row, series: tuple[str, int] | None, origins: Origins) -> dict[str, Any]:
    deviations = list(dict.fromkeys(line for result in row.results.values() for line in result.deviations))
    return {
        "name": row.name, "kind": row.kind, "params": row.params, "revision": row.revision, "deviations": deviations,
        "copied": "; ".join(row.copied) or None, "series": series and series[0], "updates": series and series[1],
        **details.facts(row), "submissions": submissions_of(row, origins),
        "hidden": is_hidden(list(row.results.values()), origins),
    }  # fmt: skip


Place = Mapping[tuple[str, str, int], int]
"""(name, revision, identity of its results) -> index of the row in the section."""


def _at(view: Group, k: Shots, columns: Sequence[Column], place: Place, beside: Group | None) -> dict[str, Any]:
    """Returns the section at one K."""
    shown = shots.columns_at(view, columns)
    means = shots.means_at(view, k, columns)
    index = {i: place[row.name, row.revision, id(row.results)] for i, row in enumerate(view.rows)}
    standings = {column.key: significance.standings(view.rows, column) for column in shown}
    standings[MEAN] = shots.standings_of_means(view, k, columns, means)
    best = {column.key: leaders(view.rows, column)[0] for column in shown}
    rows = {
        index[i]: {MEAN: _mean(means.get(id(row)), standings[MEAN].places.get(i))}
        | {key: _cell(row, key, k, best[key], standings[key].places.get(i)) for key in row.cells}
        for i, row in enumerate(view.rows)
    }
    floors = shots.floors_at(view, k)
    return {
        "k": k, "columns": [column.key for column in shown], "rows": rows,
        "floors": {column.key: floors[column.task] for column in shown},
        "pairs": {key: _pairs(of_column, index) for key, of_column in standings.items() if len(rows) <= MOST_PAIRS},
        "correlations": _correlations(view, k, shown, floors, beside),
    }  # fmt: skip


def _pairs(standings: Standings, index: Mapping[int, int]) -> list[list[float | int]]:
    return significance.pairs(standings.comparison, index) if standings.comparison else []


def _cell(row: Row, key: str, k: Shots, best: set[int], standing: Standing | None) -> dict[str, Any]:
    cell: Cell = row.cells[key]
    entry = shots.entry_at(row.results[key.partition(".")[0]], k)
    assert entry is not None
    low, high = cell.interval or (None, None)
    return {
        "value": cell.value, "lo": low, "hi": high, "best": id(row) in best, "unplaced": cell.unplaced or None,
        "controls": dict(entry.controls), "draws": entry.draws, "setting": dict(entry.setting), **_place(standing),
    }  # fmt: skip


def _mean(mean: shots.Mean | None, standing: Standing | None) -> dict[str, Any] | None:
    if mean is None:
        return None
    low, high = mean.interval or (None, None)
    return {"value": mean.value, "lo": low, "hi": high, "unplaced": mean.unplaced or None, **_place(standing)}


def _place(standing: Standing | None) -> dict[str, Any]:
    return {
        "place": standing and standing.place, "shared": standing.tied if standing else 0,
        "sure": standing is not None and standing.sure,
    }  # fmt: skip


# ---------------------------------------------------------------- beside the probes


def _probes_of(group: Group, probes: Sequence[Group]) -> Group | None:
    """Returns the group of probes on the same corpora and data that shares most models with a group."""
    names = {(row.name, row.revision) for row in group.rows}

    def shared(other: Group) -> int:
        same_data = all(group.data[task][:3] == other.data[task][:3] for task in group.data.keys() & other.data.keys())
        rows = sum((row.name, row.revision) in names for row in other.rows)
        return rows if same_data and other.corpora == group.corpora else 0

    found = max(probes, key=shared, default=None)
    return found if found is not None and shared(found) else None


def _correlations(
    view: Group, k: Shots, shown: Sequence[Column], floors: Mapping[str, float], beside: Group | None
) -> dict[str, Any]:
    """Returns the rank correlations with the probes: of every column, and of the mean over all of them."""
    probes = {(row.name, row.revision): row for row in beside.rows} if beside else {}
    pairs = [(row, probes[row.name, row.revision]) for row in view.rows if (row.name, row.revision) in probes]
    found = {column.key: _correlation(pairs, [column], floors) for column in shown}
    found[MEAN] = _correlation(pairs, shown, floors)
    return {
        key: {"value": one.value, "lo": one.interval and one.interval[0], "hi": one.interval and one.interval[1],
              "rows": one.rows, "tasks": one.tasks}
        for key, one in found.items() if one is not None
    }  # fmt: skip


def _correlation(pairs: Sequence[tuple[Row, Row]], over: Sequence[Column], floors: Mapping[str, float]) -> Correlation | None:
    """Returns the rank correlation over the models that have all columns on both sides, each by its recipe."""
    whole = [
        pair
        for pair in pairs
        if all(column.key in row.cells and row.cells[column.key].ranked for row in pair for column in over)
    ]
    sides = [
        np.array([[shots.centred(pair[side].cells[column.key].value, floors[column.task], column) for column in over]
                  for pair in whole]).reshape(len(whole), len(over))
        for side in (0, 1)
    ]  # fmt: skip
    return rank_correlation(sides[0], sides[1])
