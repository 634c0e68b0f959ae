"""What the board's page shows, as plain values: groups of rows with cells, standings and everything behind a number."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from superbench import __version__
from superbench.board import details
from superbench.board.details import Scored
from superbench.board.ranking import Cell, Column, Group, Row, leaders, ranks, superb_score

PUBLISHED = "published"
TITLES = {
    "mini": "Miniature corpora",
    "superb-once": "One pass over the real corpora",
    "superb": "Official protocol, run here",
    PUBLISHED: "Published results",
}
NOTES = {
    "mini": "Protocol mini: synthetic miniature corpora, official heads and metrics, short training. Compare within this table "
    "only; the SUPERB score uses the official reference points as a mere yardstick.",
    "superb-once": "Protocol superb-once: official but for random crops (SID, ASV, KS silence). Compare within this table.",
    "superb": "The official recipes on the real corpora.",
    PUBLISHED: "Official protocol on the real corpora, as printed: not comparable with rows of other protocols.",
}


def contents(groups: Sequence[Group], columns: Sequence[Column], scored: Scored | None = None) -> dict[str, Any]:
    """The page's data; see `page.render`. Without `scored`: no paired differences and no hardest items."""
    return {
        "title": "superbench board",
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "version": __version__,
        "columns": [_column(column) for column in columns],
        "groups": [_group(group, columns, number, scored) for number, group in enumerate(groups)],
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "key": column.key, "task": column.task, "metric": column.metric, "title": column.title, "label": column.label,
        "unit": column.unit, "higher": column.higher_is_better, "primary": column.primary, "domain": column.domain,
        "corpus": details.corpus(column),
    }  # fmt: skip


def _group(group: Group, columns: Sequence[Column], number: int, scored: Scored | None) -> dict[str, Any]:
    places = ranks(group.rows, columns)
    standing = {column.key: leaders(group.rows, column) for column in columns}
    rows = sorted(group.rows, key=lambda row: (places.get(id(row), len(places) + 1), row.name))
    return {
        "key": f"{group.protocol}-{number}",
        "title": TITLES.get(group.protocol, group.protocol),
        "note": NOTES.get(group.protocol, ""),
        "official": group.protocol == PUBLISHED,
        "rows": [_row(row, columns, places.get(id(row)), standing) for row in rows],
        "behind": details.behind(rows, columns, scored, group.protocol),
    }


def _row(
    row: Row, columns: Sequence[Column], rank: int | None, standing: dict[str, tuple[set[int], set[int]]]
) -> dict[str, Any]:
    return {
        "name": row.name, "origin": row.origin, "source": row.source, "kind": row.kind, "params": row.params, "macs": row.macs,
        "hop": row.hop, "layers": row.layers, "dim": row.dim, "revision": row.revision,
        "superb": superb_score(row.cells, columns), "rank": rank, "tasks": len({key.split(".")[0] for key in row.cells}),
        "cells": {
            key: _cell(cell, id(row) in standing[key][0], id(row) in standing[key][1])
            for key, cell in row.cells.items() if key in standing
        },
        "details": details.receipts(row), **details.facts(row),
    }  # fmt: skip


def _cell(cell: Cell, best: bool, tied: bool) -> dict[str, Any]:
    low, high = cell.interval or (None, None)
    return {
        "value": cell.value, "lo": low, "hi": high, "method": cell.method, "best": best, "tied": tied,
        "deviations": list(cell.deviations),
    }  # fmt: skip
