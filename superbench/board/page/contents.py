"""The data of the board's page, as plain values: groups of rows with cells, places, and the details of each number."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superbench.__version__ import __version__
from superbench.board.bundles.lookalikes import namesake
from superbench.board.page import details
from superbench.board.page.counted import Origins, is_hidden, submissions_of
from superbench.board.page.details import Scored
from superbench.contract import CUSTOM, UNTRAINED
from superbench.errors import first_of
from superbench.results import significance
from superbench.results.at_chance import explained
from superbench.results.checkpoints import series_of
from superbench.results.grouping import apart
from superbench.results.official import MINI, said_unlike, unlike_published
from superbench.results.own import own_kind
from superbench.results.ranking import leaders, ranks, superb_score
from superbench.results.result import is_miniature
from superbench.results.rows import Cell, Column, Group, Row
from superbench.results.significance import Standing, Standings
from superbench.system.spelling import by_number

PUBLISHED = "published"
SUPERSEDED = "superseded"
MOST_PAIRS = 40
"""Largest number of rows in a group for which the page contains every paired difference."""

TITLES = {
    "mini": "Mini recipes on other corpora",
    "superb-once": "One pass over each corpus",
    "superb": "Official protocol, run here",
    CUSTOM: "Own task",
    "few-shot": "Few-shot, nothing trained",
    "in-context": "In context",
    PUBLISHED: "Published results",
    SUPERSEDED: "Published results, superseded",
}
NOTES = {
    "mini": "Protocol mini: official heads and metrics, short training. Compare within this table only.",
    "superb-once": "Protocol superb-once: official except random crops (SID, ASV, KS silence). Compare within this table only.",
    "superb": "The official recipes.",
    CUSTOM: "A person's own corpus and recipe, with no SUPERB score. Compare within this table only.",
    "few-shot": "Examples become class centroids, templates or clusters of frozen features; no head is trained. "
    "Layer and setting are chosen on dev for each K.",
    "in-context": "Examples stand in the prompt; the label whose continuation is likeliest wins. "
    "A row that does not beat the same prompt without sound by its interval has no place.",
    PUBLISHED: "Official protocol on the real corpora, as published: not comparable with rows of other protocols.",
    SUPERSEDED: "Withdrawn, or published again later with other numbers: each row names its source.",
}
SMALL = "Miniature corpora"
"""Title of the table for mini recipes on the miniature corpora."""
UNSCORED = "There is no SUPERB score: its reference points belong to the official recipes and corpora."
UNVERIFIED = "labels by the submitter, not verified"
ELSEWHERE = {
    "mini": "Mini recipes", "superb": "Official recipes", "superb-once": "One pass over each corpus",
    "few-shot": "Few-shot, nothing trained", "in-context": "In context",
}  # fmt: skip
"""Beginnings of titles where the corpora are not the published ones: nothing there is official."""
MISSING = "A missing task adds no points to a row's rank; the row has no SUPERB score."


def contents(
    groups: Sequence[Group],
    columns: Sequence[Column],
    refused: Sequence[str] = (),
    scored: Scored | None = None,
    sections: Sequence[Mapping[str, Any]] = (),
    origins: Origins | None = None,
    missing: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Returns the data of the page for `render.render`.

    `refused`: what the board contains but does not show, with the reasons. Without `scored`, the page has no paired
    differences in large tables and no hardest items. `sections`: see `shot_sections`. `origins`: who submitted the results.
    `missing`: tasks that cannot be loaded here, see `missing_plugins.facts_of`.
    """
    first: dict[tuple[str, str], Group] = {}
    for group in groups:
        first.setdefault((group.protocol, group.corpora), group)
    return {
        "title": "superbench board",
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "version": __version__,
        "columns": [_column(column) for column in columns],
        "groups": [
            _group(group, columns, number, first[group.protocol, group.corpora], scored, origins or {})
            for number, group in enumerate(groups)
        ],
        "sections": list(sections),
        "refused": list(refused),
        "missing": list(missing),
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "key": column.key, "task": column.task, "metric": column.metric, "title": column.title, "label": column.label,
        "unit": column.unit, "higher": column.higher_is_better, "primary": column.primary, "domain": column.domain,
        "corpus": column.corpus, "chosen_on": column.chosen_on,
    }  # fmt: skip


@dataclass(frozen=True)
class _Table:
    """A group with the values that are computed once for all its rows."""

    group: Group
    columns: Sequence[Column]
    ranks: Mapping[int, int]
    standings: Mapping[str, Standings]
    best: Mapping[str, set[int]]
    counted: frozenset[str]
    series: Mapping[int, tuple[str, int]]

    @classmethod
    def of(cls, group: Group, columns: Sequence[Column]) -> _Table:
        """Computes ranks, places and the best rows, for the columns in which the group has a score."""
        present = {key for row in group.rows for key in row.cells}
        shown = [column for column in columns if column.key in present]
        return cls(
            group,
            columns,
            ranks([row for row in group.rows if row.cells], columns, scored=group.scored),
            {column.key: _standings(group, column) for column in shown},
            {column.key: leaders(group.rows, column)[0] for column in shown},
            frozenset(column.task for column in shown if column.reference),
            {} if group.protocol in (PUBLISHED, SUPERSEDED) else series_of(group.rows),
        )

    def missing(self, row: Row) -> list[str]:
        """Returns the tasks that count for the rank, that other rows of the group have, and this row lacks."""
        return sorted(self.counted - {key.partition(".")[0] for key in row.cells})


def _group(
    group: Group, columns: Sequence[Column], number: int, first: Group, scored: Scored | None, origins: Origins
) -> dict[str, Any]:
    table = _Table.of(group, columns)
    rows, last = group.rows, len(table.ranks) + 1
    order = sorted(range(len(rows)), key=lambda i: (table.ranks.get(id(rows[i]), last), by_number(rows[i].name)))
    position = {i: place for place, i in enumerate(order)}
    reason = apart(group, first)
    missing = MISSING if any(table.missing(row) for row in rows) else ""
    return {
        "key": f"{group.protocol}-{number}",
        "protocol": group.protocol,
        "title": title_of(group) + (" (other data)" if reason else ""),
        "note": " ".join(filter(None, [note_of(group), reason, missing, *(f"{line}." for line in explained(rows))])),
        "reason": reason,
        "official": group.protocol in (PUBLISHED, SUPERSEDED),
        "badge": badge_of(group),
        "scored": group.scored,
        "rows": [_row(table, i, origins) for i in order],
        "behind": details.behind([rows[i] for i in order], columns, scored),
        "pairs": {
            key: significance.pairs(standings.comparison, position)
            for key, standings in table.standings.items()
            if standings.comparison and len(rows) <= MOST_PAIRS
        },
    }


def note_of(group: Group) -> str:
    """Returns the note of a group: its protocol, its corpora, and whose labels scored it."""
    unscored = "" if group.scored or group.protocol in {CUSTOM, *UNTRAINED} else UNSCORED
    return " ".join(filter(None, [NOTES.get(group.protocol, ""), _data(group), _labels(group), unscored]))


def title_of(group: Group) -> str:
    """Returns the title of a group, from its protocol and the passports of its results."""
    title = TITLES.get(group.protocol, group.protocol)
    if group.protocol == CUSTOM:
        told = {kind.title for row in group.rows for one in row.results.values() if (kind := own_kind(one.environment))}
        names = sorted(told) or sorted({name for row in group.rows for name in row.results})
        return f"{first_of(names)}: {'own task' if len(names) == 1 else 'own tasks'}"
    if group.protocol == MINI:
        return SMALL if group.corpora == "miniature" else title
    if group.corpora != "published":
        return f"{ELSEWHERE.get(group.protocol, title)}, on {group.corpora} corpora"
    return f"Official protocol, {UNVERIFIED}" if group.protocol == "superb" and not verified(group) else title


def badge_of(group: Group) -> str:
    """Returns whether the numbers of a group are official, in the words beside its title."""
    if group.protocol in (PUBLISHED, SUPERSEDED):
        return "official protocol"
    if group.protocol != "superb" or group.corpora != "published":
        return "not official"
    return "official protocol" if not group.unverified else "partly verified" if verified(group) else "not verified"


def verified(group: Group) -> bool:
    """Returns whether the board has references of its own for any task of a group."""
    return bool({name for row in group.rows for name in row.results} - group.unverified)


def _data(group: Group) -> str:
    """Describes a group's corpora, from the passports of its results."""
    results = {name: result for row in group.rows for name, result in row.results.items()}
    if not results or group.protocol == CUSTOM:
        return ""
    if group.corpora == "miniature":
        denied = sorted({row.name for row in group.rows for result in row.results.values() if not is_miniature(result)})
        listed = f" {first_of(denied)}: declared as other corpora, but other rows have the same data." if denied else ""
        return f"The corpora are synthetic miniatures.{listed}"
    differing = [
        said_unlike(one) for _, one in sorted(results.items()) if group.protocol not in (MINI, CUSTOM) and unlike_published(one)
    ]
    if differing:
        return f"These corpora are not as published: {', '.join(differing)}."
    told = "According to the submitters, the" if group.unverified else "The"
    return f"{told} corpora are not synthetic miniatures."


def _labels(group: Group) -> str:
    """Describes the labels if they are not the board's own references."""
    if not group.unverified:
        return ""
    others = {name for row in group.rows for name in row.results} - group.unverified
    for_these = f" for {', '.join(name.upper() for name in sorted(group.unverified))}" if others else ""
    return f"This board has no references of its own{for_these}: {UNVERIFIED}."


def _standings(group: Group, column: Column) -> Standings:
    """Returns the places by paired tests of the predictions; published tables have no predictions, so no place is certain."""
    if group.protocol in (PUBLISHED, SUPERSEDED):
        return Standings()
    return significance.standings(group.rows, column)


def _row(table: _Table, index: int, origins: Origins) -> dict[str, Any]:
    row = table.group.rows[index]
    series, updates = table.series.get(id(row), (None, None))
    return {
        "name": row.name, "origin": row.origin, "source": row.source, "kind": row.kind, "params": row.params, "macs": row.macs,
        "hop": row.hop, "layers": row.layers, "dim": row.dim, "revision": row.revision, "superseded": row.superseded,
        "series": series, "updates": updates,
        "namesake": namesake(row.name) if row.origin == "local" else None,
        "superb": superb_score(row.cells, table.columns) if table.group.scored else None, "rank": table.ranks.get(id(row)),
        "tasks": len({key.split(".")[0] for key in row.cells}), "missing": table.missing(row),
        "copied": "; ".join(row.copied) or None,
        "cells": {
            key: _cell(cell, id(row) in table.best[key], table.standings[key].places.get(index))
            for key, cell in row.cells.items() if key in table.best
        },
        "examination": details.examination(row) or None,
        "details": details.receipts(row), **(known := details.facts(row)),
        "seen": details.seen(known["corpus"], table.columns) if row.origin == "local" else [],
        "submissions": submissions_of(row, origins), "hidden": is_hidden(list(row.results.values()), origins),
    }  # fmt: skip


def _cell(cell: Cell, best: bool, standing: Standing | None) -> dict[str, Any]:
    """Returns a cell. `tied`: shares the first place with the best; `place`, `shared` (number of other rows): see
    `significance.Standing`."""
    low, high = cell.interval or (None, None)
    return {
        "value": cell.value, "lo": low, "hi": high, "method": cell.method, "best": best,
        "tied": standing is not None and standing.sure and standing.place == 1 and not best,
        "place": standing and standing.place, "shared": standing.tied if standing else 0,
        "sure": standing is not None and standing.sure, "deviations": list(cell.deviations),
    }  # fmt: skip
