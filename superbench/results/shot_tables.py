"""Tables of results without training: tasks by K for every upstream, with floors, controls and the chance-centred mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from superbench.contract import Shots
from superbench.results.ranking import leaders
from superbench.results.result import Result
from superbench.results.rows import Column, Group, Row
from superbench.results.shots import NO_SOUND, at, columns_at, controls_in, entry_at, in_words, means_at, shots_in
from superbench.system.spelling import in_latex, visible

if TYPE_CHECKING:
    from rich.console import RenderableType

MEAN = "mean above chance, %"
LEGEND = (
    "mean above chance: (score - floor) / (best - floor), averaged over tasks · floor: an answer that ignores the sound · "
    "bold: best of all upstreams at this K · ≈: its interval overlaps that of the best"
)


@dataclass(frozen=True, slots=True)
class ShotCell:
    """A score at K as text, and whether it is the best of all upstreams, or tied with the best (its interval overlaps)."""

    text: str = "–"
    best: bool = False
    tied: bool = False

    @property
    def marked(self) -> str:
        """The text with the sign of a tie."""
        return self.text + (" ≈" if self.tied else "")


@dataclass(frozen=True, slots=True)
class ShotTable:
    """The scores of one upstream: `lines` are (label, cells by K, floor, controls at the largest K)."""

    row: Row
    shots: tuple[Shots, ...]
    controls: tuple[str, ...]
    lines: tuple[tuple[str, tuple[ShotCell, ...], str, tuple[str, ...]], ...]

    @property
    def heads(self) -> list[str]:
        """The heads of all columns but the first."""
        return [*map(in_words, self.shots), "floor", *self.controls]


def shot_tables(group: Group, columns: Sequence[Column]) -> list[ShotTable]:
    """Return a table for each upstream of a group, the best mean at the largest K first."""
    shots, controls = shots_in(group.rows), controls_in(group.rows)
    views = {k: at(group, k, columns) for k in shots}
    present = {column.key for view in views.values() for column in columns_at(view, columns)}
    shown = [column for column in columns if column.key in present]
    marks = {(k, column.key): leaders(view.rows, column) for k, view in views.items() for column in shown}
    means = _means(views, columns)
    tables = [
        ShotTable(row, tuple(shots), tuple(controls), tuple(_lines(row, shown, views, marks, means, controls)))
        for row in group.rows
    ]
    last = {name: value for name, (value, _) in means[shots[-1]].items()}
    return sorted(tables, key=lambda table: (-last.get(_identity(table.row), float("-inf")), table.row.name))


def _identity(row: Row) -> tuple[str, str, int]:
    return row.name, row.revision, id(row.results)


Means = dict[tuple[str, str, int], tuple[float, ShotCell]]


def _means(views: dict[Shots, Group], columns: Sequence[Column]) -> dict[Shots, Means]:
    """Return the means of all rows by K, in percent, as cells."""
    found: dict[Shots, Means] = {}
    for k, view in views.items():
        means = means_at(view, k, columns)
        fair = [mean for mean in means.values() if not mean.unplaced]
        top = max(fair, key=lambda mean: mean.value, default=None)
        found[k] = {}
        for row in view.rows:
            if (mean := means.get(id(row))) is None:
                continue
            tied = top is not None and mean is not top and not mean.unplaced and _overlap(mean.interval, top.interval)
            half = f" ±{50 * (mean.interval[1] - mean.interval[0]):.1f}" if mean.interval else ""
            text = f"{100 * mean.value:.1f}{half}{'†' if mean.unplaced else ''}"
            found[k][_identity(row)] = (mean.value, ShotCell(text, mean is top, tied))
    return found


def _overlap(first: tuple[float, float] | None, second: tuple[float, float] | None) -> bool:
    return first is not None and second is not None and first[0] <= second[1] and second[0] <= first[1]


def _lines(
    row: Row, shown: Sequence[Column], views: dict[Shots, Group], marks: dict[tuple[Shots, str], tuple[set[int], set[int]]],
    means: dict[Shots, Means], controls: Sequence[str],
) -> Iterator[tuple[str, tuple[ShotCell, ...], str, tuple[str, ...]]]:  # fmt: skip
    at_k = {k: {_identity(other): other for other in view.rows}.get(_identity(row)) for k, view in views.items()}
    for column in shown:
        if (result := row.results.get(column.task)) is None or not result.shots:
            continue
        cells = tuple(_cell(at_k[k], column, marks[k, column.key]) for k in views)
        largest = result.shots[-1]
        of_controls = tuple(_number(largest.controls[name], column) if name in largest.controls else "–" for name in controls)
        yield column.label, cells, _number(largest.floor, column), of_controls
    none = (float("nan"), ShotCell())
    yield MEAN, tuple(means[k].get(_identity(row), none)[1] for k in views), "0.0", ("",) * len(controls)


def _cell(row: Row | None, column: Column, mark: tuple[set[int], set[int]]) -> ShotCell:
    cell = row.cells.get(column.key) if row is not None else None
    if cell is None:
        return ShotCell()
    half = f" ±{_number((cell.interval[1] - cell.interval[0]) / 2, column)}" if cell.interval else ""
    text = f"{_number(cell.value, column)}{half}{'' if cell.ranked else '†'}"
    return ShotCell(text, id(row) in mark[0], id(row) in mark[1])


def _number(value: float, column: Column) -> str:
    return f"{value:.{3 if column.unit == 'fraction' else 1}f}"


def legend(group: Group) -> str:
    """Return the legend below the tables of a group."""
    shortened = any(row.shortened for row in group.rows)
    deaf = NO_SOUND in controls_in(group.rows)
    why = " or ".join(["deviates from the recipe"] * shortened + [f"is not above {NO_SOUND} by its interval"] * deaf)
    return LEGEND + (f" · †: {why}, not ranked" if why else "")


# ---------------------------------------------------------------- formats


def as_rich(group: Group, columns: Sequence[Column]) -> list[RenderableType]:
    """Return tables for rich."""
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for found in shot_tables(group, columns):
        title = f"{visible(found.row.name)} · protocol {group.protocol} · 95 % intervals"
        table = Table("metric", title=Text(title), title_justify="left")
        for head in found.heads:
            table.add_column(head, justify="right")
        for label, cells, floor, controls in found.lines:
            if label == MEAN:
                table.add_section()
            texts = [Text(cell.marked, style="bold" if cell.best else "") for cell in cells]
            table.add_row(Text(label), *texts, Text(floor), *map(Text, controls))
        parts.append(table)
    return [*parts, Text(legend(group), style="dim")]


def as_markdown(group: Group, columns: Sequence[Column], plain: Callable[[str], str]) -> str:
    """Return a Markdown table with a line for each upstream and metric, and a column for each K. `plain` escapes names."""
    tables = shot_tables(group, columns)
    heads = ["upstream", "metric", *tables[0].heads]
    lines = [f"### protocol {group.protocol}", "", f"| {' | '.join(heads)} |", f"|---|---|{'---:|' * (len(heads) - 2)}"]
    for table in tables:
        for label, cells, floor, controls in table.lines:
            texts = [f"**{cell.marked}**" if cell.best else cell.marked for cell in cells]
            lines.append(f"| {' | '.join([plain(table.row.name), label, *texts, floor, *controls])} |")
    return "\n".join([*lines, "", f"{legend(group)}.", ""])


def as_latex(group: Group, columns: Sequence[Column], in_cell: Callable[[str, bool], str]) -> str:
    r"""Return a `booktabs` table with a column for each K; `in_cell` writes a cell, bold or not."""
    tables = shot_tables(group, columns)
    heads = ["upstream", "metric", *tables[0].heads]
    lines = [rf"% protocol {group.protocol}; needs \usepackage{{booktabs}}"]
    lines += [rf"\begin{{tabular}}{{ll{'r' * (len(heads) - 2)}}}", r"\toprule"]
    lines += [rf"{' & '.join(map(in_latex, heads))} \\", r"\midrule"]
    arrows = {"↑": r"$\uparrow$", "↓": r"$\downarrow$"}
    for table in tables:
        for label, cells, floor, controls in table.lines:
            name = " ".join(arrows.get(word, in_latex(word)) for word in label.split())
            texts = [in_cell(cell.text, cell.best) + (r"\,$\approx$" if cell.tied else "") for cell in cells]
            lines.append(" & ".join([in_latex(table.row.name), name, *texts, floor, *controls]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def csv_rows(result: Result) -> Iterator[tuple[str, Any, Any, Any, Any, Any, Any, bool]]:
    """Yield (metric, value, low, high, k, draws, floor, primary) for every K of a result; the other metrics of the largest K
    have no floor. A result of trained heads has one row for each metric, without K."""
    for entry in result.shots or ():
        low, high = entry.ci or ("", "")
        yield result.primary, entry.score, low, high, entry.k, entry.draws, entry.floor, True
    last = entry_at(result, result.shots[-1].k) if result.shots else None
    for metric, score in result.scores.items():
        if last is None or metric != result.primary:
            low, high = score.ci or ("", "")
            of = ("", "", "") if last is None else (last.k, last.draws, "")
            yield metric, score.value, low, high, *of, metric == result.primary
