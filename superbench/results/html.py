"""Results as HTML tables for notebooks: the same cells as `tables.terminal`, upstreams in columns and metrics in rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from superbench.results.ranking import leaders
from superbench.results.result import Result
from superbench.results.rows import Column, Group
from superbench.results.tables import cell_text, remarks, shown
from superbench.system.spelling import visible


def tables(results: Iterable[Result]) -> str:
    """Return one `<table>` for each group of comparable rows. Bold: best. ≈: its interval overlaps that of the best."""
    return "".join(_table(group, present) for group, present in shown(results))


def text(value: str) -> str:
    """Return text with HTML markup and control characters escaped.

    >>> text("<a&b>")
    '&lt;a&amp;b&gt;'
    """
    return escape(visible(value))


def _table(group: Group, present: Sequence[Column]) -> str:
    head = "".join(f"<th>{text(row.name)}</th>" for row in group.rows)
    body = "".join(_row(group, column) for column in present)
    legend = "bold: best · ≈: its interval overlaps that of the best"
    if any(row.shortened for row in group.rows):
        legend += " · †: deviates from the recipe, not ranked"
    below = "".join(f"<br>{text(line)}" for line in remarks(group))
    return (
        f"<table><caption>protocol {text(group.protocol)} · 95 % intervals</caption>"
        f"<thead><tr><th>metric</th>{head}</tr></thead><tbody>{body}</tbody></table><small>{legend}{below}</small>"
    )


def _row(group: Group, column: Column) -> str:
    best, tied = leaders(group.rows, column)
    cells = []
    for row in group.rows:
        value = text(cell_text(row, column) + (" ≈" if id(row) in tied else ""))
        cells.append(f"<td><b>{value}</b></td>" if id(row) in best else f"<td>{value}</td>")
    return f"<tr><th>{text(column.label)}</th>{''.join(cells)}</tr>"
