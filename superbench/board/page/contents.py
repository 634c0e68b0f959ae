"""What the board's page shows, as plain values: groups of rows with cells, standings and everything behind a number."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superbench.__version__ import __version__
from superbench.board.bundles.lookalikes import namesake
from superbench.board.page import details
from superbench.board.page.details import Scored
from superbench.results import significance
from superbench.results.grouping import apart
from superbench.results.official import said_unlike, unlike_published
from superbench.results.ranking import leaders, ranks, superb_score
from superbench.results.rows import Cell, Column, Group, Row
from superbench.results.significance import Standing, Standings

PUBLISHED = "published"
SUPERSEDED = "superseded"
MOST_PAIRS = 40
"""Rows of a group up to which the page gets every paired difference."""

TITLES = {
    "mini": "Mini recipes on other corpora",
    "superb-once": "One pass over each corpus",
    "superb": "Official protocol, run here",
    PUBLISHED: "Published results",
    SUPERSEDED: "Published results, superseded",
}
NOTES = {
    "mini": "Protocol mini: official heads and metrics, short training. Compare within this table only.",
    "superb-once": "Protocol superb-once: official but for random crops (SID, ASV, KS silence). Compare within this table.",
    "superb": "The official recipes.",
    PUBLISHED: "Official protocol on the real corpora, as printed: not comparable with rows of other protocols.",
    SUPERSEDED: "Withdrawn, or printed again later with other figures: the source stands with each row.",
}
SMALL = "Miniature corpora"
"""The title of mini recipes on the corpora that they are made for."""
UNSCORED = "There is no SUPERB score: its reference points belong to the official recipes and corpora."
UNVERIFIED = "labels by the submitter, not verified"
MISSING = "A task that is missing adds no points to a row's rank, and leaves it without a SUPERB score."


def contents(
    groups: Sequence[Group], columns: Sequence[Column], refused: Sequence[str] = (), scored: Scored | None = None
) -> dict[str, Any]:
    """The page's data; see `render.render`. `refused`: what the board holds and does not show, with the reason. Without
    `scored`: no paired differences of large tables, and no hardest items."""
    first: dict[tuple[str, str], Group] = {}
    for group in groups:
        first.setdefault((group.protocol, group.corpora), group)
    return {
        "title": "superbench board",
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "version": __version__,
        "columns": [_column(column) for column in columns],
        "groups": [
            _group(group, columns, number, first[group.protocol, group.corpora], scored) for number, group in enumerate(groups)
        ],
        "refused": list(refused),
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "key": column.key, "task": column.task, "metric": column.metric, "title": column.title, "label": column.label,
        "unit": column.unit, "higher": column.higher_is_better, "primary": column.primary, "domain": column.domain,
        "corpus": column.corpus, "chosen_on": column.chosen_on,
    }  # fmt: skip


@dataclass(frozen=True)
class _Table:
    """A group with everything that is worked out once for all of its rows."""

    group: Group
    columns: Sequence[Column]
    ranks: Mapping[int, int]
    standings: Mapping[str, Standings]
    best: Mapping[str, set[int]]
    counted: frozenset[str]

    @classmethod
    def of(cls, group: Group, columns: Sequence[Column]) -> _Table:
        """Ranks, places and the best of every column in which the group has something."""
        present = {key for row in group.rows for key in row.cells}
        shown = [column for column in columns if column.key in present]
        return cls(
            group,
            columns,
            ranks(group.rows, columns, scored=group.scored),
            {column.key: _standings(group, column) for column in shown},
            {column.key: leaders(group.rows, column)[0] for column in shown},
            frozenset(column.task for column in shown if column.reference),
        )

    def missing(self, row: Row) -> list[str]:
        """Tasks that count for the rank and that others of the group have."""
        return sorted(self.counted - {key.partition(".")[0] for key in row.cells})


def _group(group: Group, columns: Sequence[Column], number: int, first: Group, scored: Scored | None) -> dict[str, Any]:
    table = _Table.of(group, columns)
    rows, last = group.rows, len(table.ranks) + 1
    order = sorted(range(len(rows)), key=lambda i: (table.ranks.get(id(rows[i]), last), rows[i].name))
    position = {i: place for place, i in enumerate(order)}
    reason = apart(group, first)
    missing = MISSING if any(table.missing(row) for row in rows) else ""
    return {
        "key": f"{group.protocol}-{number}",
        "protocol": group.protocol,
        "title": _title(group) + (" (other data)" if reason else ""),
        "note": " ".join(filter(None, [_note(group), reason, missing])),
        "reason": reason,
        "official": group.protocol in (PUBLISHED, SUPERSEDED),
        "scored": group.scored,
        "rows": [_row(table, i) for i in order],
        "behind": details.behind([rows[i] for i in order], columns, scored),
        "pairs": {
            key: significance.pairs(one.comparison, position)
            for key, one in table.standings.items()
            if one.comparison and len(rows) <= MOST_PAIRS
        },
    }


def _note(group: Group) -> str:
    unscored = "" if group.scored else UNSCORED
    return " ".join(filter(None, [NOTES.get(group.protocol, ""), _data(group), _labels(group), unscored]))


def _title(group: Group) -> str:
    """By its protocol, and by the passports of its results."""
    title = TITLES.get(group.protocol, group.protocol)
    if group.protocol == "mini":
        return SMALL if group.corpora == "miniature" else title
    return {"miniature": f"{title}, on miniature corpora", "other": f"{title}, on other corpora"}.get(group.corpora, title)


def _data(group: Group) -> str:
    """What the passports of a group's results say of its corpora."""
    results = {name: result for row in group.rows for name, result in row.results.items()}
    if not results:
        return ""
    if group.corpora == "miniature":
        return "The corpora are synthetic miniatures."
    odd = [said_unlike(one) for _, one in sorted(results.items()) if group.protocol != "mini" and unlike_published(one)]
    return f"These corpora are not as published: {', '.join(odd)}." if odd else "The corpora are no synthetic miniatures."


def _labels(group: Group) -> str:
    """Whose the labels are, where they are not the board's own."""
    if not group.unverified:
        return ""
    some = {name for row in group.rows for name in row.results} - group.unverified
    for_these = f" for {', '.join(name.upper() for name in sorted(group.unverified))}" if some else ""
    return f"This board has no references of its own{for_these}: {UNVERIFIED}."


def _standings(group: Group, column: Column) -> Standings:
    """By paired tests where predictions are known; nobody's place is sure in a published table."""
    if group.protocol in (PUBLISHED, SUPERSEDED):
        return Standings()
    return significance.standings(group.rows, column)


def _row(table: _Table, index: int) -> dict[str, Any]:
    row = table.group.rows[index]
    return {
        "name": row.name, "origin": row.origin, "source": row.source, "kind": row.kind, "params": row.params, "macs": row.macs,
        "hop": row.hop, "layers": row.layers, "dim": row.dim, "revision": row.revision, "superseded": row.superseded,
        "namesake": namesake(row.name) if row.origin == "local" else None,
        "superb": superb_score(row.cells, table.columns) if table.group.scored else None, "rank": table.ranks.get(id(row)),
        "tasks": len({key.split(".")[0] for key in row.cells}), "missing": table.missing(row),
        "copied": "; ".join(row.copied) or None,
        "cells": {
            key: _cell(cell, id(row) in table.best[key], table.standings[key].places.get(index))
            for key, cell in row.cells.items() if key in table.best
        },
        "details": details.receipts(row), **details.facts(row),
    }  # fmt: skip


def _cell(cell: Cell, best: bool, standing: Standing | None) -> dict[str, Any]:
    """`tied`: shares the first place with the best; `place` and `shared` (with how many others): see
    `significance.Standing`."""
    low, high = cell.interval or (None, None)
    return {
        "value": cell.value, "lo": low, "hi": high, "method": cell.method, "best": best,
        "tied": standing is not None and standing.sure and standing.place == 1 and not best,
        "place": standing and standing.place, "shared": standing.tied if standing else 0,
        "sure": standing is not None and standing.sure, "deviations": list(cell.deviations),
    }  # fmt: skip
