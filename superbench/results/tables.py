"""Results as tables: for the terminal, Markdown, CSV, LaTeX and JSON.

Rows that cannot be compared (other protocol, task version or data) are put into separate tables.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superbench.errors import BadResult
from superbench.results import latex, seeds, shot_tables
from superbench.results.at_chance import explained
from superbench.results.files import damage, find_results, read_result, read_results, require_results
from superbench.results.grouping import Known, copied_from, first_to_predict, grouped
from superbench.results.pair_results import pair_results
from superbench.results.ranking import leaders
from superbench.results.result import Result
from superbench.results.rows import Column, Group, Key, Row, columns, key_of
from superbench.results.shots import SCARCEST, is_untrained
from superbench.system.spelling import in_csv, visible

if TYPE_CHECKING:
    from rich.console import RenderableType

FORMATS = ("table", "markdown", "csv", "latex", "json")


def load_results(*folders: Path | str) -> list[Result]:
    """Read all results under the folders; raises `BadResult` for a folder without results. A folder with results on minimal
    pairs alone has none of these."""
    return [
        result
        for folder in map(Path, folders)
        if find_results(folder) or not pair_results(folder)
        for result in read_results(folder).values()
    ]


def whole_results(*folders: Path | str) -> tuple[list[Result], list[str]]:
    """Read the results under the folders; return those that are as they were written, and what is wrong with each other one.
    Raises `BadResult` for a folder without results."""
    whole, wrong = list[Result](), list[str]()
    for root in map(Path, folders):
        for folder in find_results(root) if pair_results(root) else require_results(root):
            try:
                result = read_result(folder)
            except BadResult as error:
                wrong.append(str(error))
                continue
            if reason := damage(folder, result):
                wrong.append(reason)
            else:
                whole.append(result)
    return whole, wrong


def shown(results: Iterable[Result]) -> list[tuple[Group, list[Column]]]:
    """Return each group with the columns that any of its rows has; raises `BadResult` if a group has no known column."""
    every = list(results)
    known = columns(every)
    keys = {column.key for column in known}
    tables = []
    for group in grouped(every, _known(every)):
        present = {key for row in group.rows for key in row.cells}
        unknown = sorted(key.split(".")[0] for key in present - keys)
        if not present & keys:
            raise BadResult(
                f"The tasks of these results are not installed ({', '.join(unknown)}). `superbench list tasks` lists all tasks."
            )
        tables.append((group, [column for column in known if column.key in present]))
    return tables


def _known(results: Iterable[Result]) -> dict[Key, Known]:
    """Return the digests of the predictions, as recorded in the results."""
    digests = {key_of(result): result.environment.get("seal", {}).get("predictions", "") for result in results}
    return {key: Known(predicted=(digest,) if digest else ()) for key, digest in digests.items()}


def copies(group: Group) -> list[str]:
    """Return a line for each row with the same predictions as an earlier row: `tera: ks: the same predictions as apc`."""
    return [f"{row.name}: {copied}" for row in group.rows for copied in row.copied]


# ---------------------------------------------------------------- a terminal


def terminal(results: Iterable[Result]) -> RenderableType:
    """Return tables for rich, upstreams in columns and metrics in rows, so that ten tasks fit into 100 characters. The best
    value is bold; values whose interval overlaps that of the best are marked ≈. Remarks on the corpora follow below."""
    from rich.console import Group as Stack

    return Stack(*(part for group, present in shown(results) for part in _table(group, present)))


def printed(results: Iterable[Result], width: int = 120) -> str:
    """Return the tables of `terminal` as text of at most `width` characters a line, without colours."""
    from rich.console import Console

    console = Console(width=width, highlight=False, markup=False, color_system=None)
    with console.capture() as capture:
        console.print(terminal(results))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _table(group: Group, present: Sequence[Column]) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    if is_untrained(group):
        below = [Text(line, style="dim") for line in (*map(visible, copies(group)), *remarks(group))]
        return [*shot_tables.as_rich(group, present), *below]
    table = Table("metric", title=f"protocol {group.protocol} · 95 % intervals", title_justify="left")
    for row in group.rows:
        table.add_column(Text(visible(row.name)), justify="right")
    domain = present[0].domain
    for column in present:
        if column.domain != domain:
            table.add_section()
            domain = column.domain
        best, tied = leaders(group.rows, column)
        cells = [Text(cell_text(row, column) + mark(row, tied), style="bold" if id(row) in best else "") for row in group.rows]
        table.add_row(column.label, *cells)
    legend = "bold: best · ≈: its interval overlaps that of the best"
    if any(row.shortened for row in group.rows):
        legend += " · †: deviates from the recipe, not ranked"
    copied = [visible(line) for line in copies(group)]
    return [table, *(Text(line, style="dim") for line in (legend, *copied, *remarks(group)))]


def remarks(group: Group) -> list[str]:
    """Return the remarks on the corpora, once per task: `sd: one speaker for all speech … has a DER of 35.80 %`; the primary
    scores over several seeds: `ks, apc: seeds 0, 1: accuracy has the mean …`; a K of which a task has fewer examples; and
    remarks on scores that say little about the features (see `at_chance`)."""
    lines = (
        f"{task}: {remark}"
        for row in group.rows
        for task, result in row.results.items()
        for remark in result.data.passport.remarks
    )
    over_seeds = (
        f"{task}, {row.name}: {seeds.in_words(result.primary, facts.model_dump())}"
        for row in group.rows
        for task, result in row.results.items()
        if (facts := result.scores[result.primary].over_seeds)
    )
    scarce = (
        f"{task}: {note}"
        for row in group.rows
        for task, result in row.results.items()
        for note in result.notes
        if result.shots and SCARCEST in note
    )
    return [*dict.fromkeys([*lines, *over_seeds, *scarce]), *map(visible, explained(group.rows))]


def mark(row: Row, tied: set[int]) -> str:
    """Return the sign after a tied cell, or spaces of the same width."""
    return " ≈" if id(row) in tied else "  "


def cell_text(row: Row, column: Column) -> str:
    """Return the text of a cell: `89.9 ±1.6`. A dagger marks a deviation from the recipe, a dash a missing value."""
    cell = row.cells.get(column.key)
    if cell is None:
        return "–"
    digits = 3 if column.unit == "fraction" else 1
    half = f" ±{(cell.interval[1] - cell.interval[0]) / 2:.{digits}f}" if cell.interval else ""
    return f"{cell.value:.{digits}f}{half}{'†' if cell.deviations else ''}"


# ---------------------------------------------------------------- files


def as_csv(results: Iterable[Result]) -> str:
    """Return one line per upstream, metric and K: value, interval, unit, deviations, data fingerprint, copied row; K, draws and
    floor are empty for trained heads."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["protocol", "upstream", "task", "metric", "value", "low", "high", "unit", "primary", "deviations", "data", "copy of",
         "k", "draws", "floor"]
    )  # fmt: skip
    every = list(results)
    known = _known(every)
    first = first_to_predict(known)
    for result in every:
        name = result.upstream.name
        other = copied_from(name, result.task.name, known[key_of(result)].predicted, first)
        for metric, value, low, high, k, draws, floor, primary in shot_tables.csv_rows(result):
            cells = [
                result.task.protocol, name, result.task.name, metric, value, low, high, result.scores[metric].unit, primary,
                "; ".join(result.deviations), result.data.fingerprint, other, k, draws, floor,
            ]  # fmt: skip
            writer.writerow(map(in_csv, cells))
    return buffer.getvalue()


def plain(results: Iterable[Result]) -> list[dict[str, Any]]:
    """Return the complete records as JSON values."""
    return [result.model_dump(mode="json", by_alias=True) for result in results]


def as_markdown(results: Iterable[Result]) -> str:
    """Return a table per group, a line per metric and upstream: version, value, test size, learning rate, parameters."""
    return "\n".join(_markdown(group, present) for group, present in shown(results))


def _markdown(group: Group, present: Sequence[Column]) -> str:
    if is_untrained(group):
        return shot_tables.as_markdown(group, present, _plain)
    lines = [f"### protocol {group.protocol}", ""]
    lines += ["| task | version | metric | upstream | value (95 % interval) | n | learning rate | params |"]
    lines += ["|---|---:|---|---|---:|---:|---|---:|"]
    for column in present:
        best, tied = leaders(group.rows, column)
        for row in (row for row in group.rows if column.key in row.cells):
            result = row.results[column.task]
            value = cell_text(row, column) + ("≈" if id(row) in tied else "")
            cells = [
                column.title, str(result.task.version), column.label.partition(" ")[2], _plain(row.name),
                f"**{value}**" if id(row) in best else value, size_of_test(result), chosen_rate(result), f"{row.params or 0:,}",
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    legend = "Bold: best of its metric. ≈: its interval overlaps that of the best."
    if any(row.shortened for row in group.rows):
        legend += " †: deviates from the recipe, not ranked."
    return "\n".join([*lines, "", legend, *(f"\n{_plain(remark)}." for remark in (*copies(group), *remarks(group))), ""])


def size_of_test(result: Result) -> str:
    """Return the size of the test set over all folds: the number of trials, if the task has trials (`10,000 trials`), else the
    number of items."""
    trials = sum(n for key, n in result.data.passport.trials.items() if key.endswith("/test"))
    items = sum(n for key, n in result.data.items.items() if key.rpartition("/")[2] == "test")
    return f"{trials:,} trials" if trials else f"{items:,}"


def chosen_rate(result: Result) -> str:
    """Return the chosen learning rate, `1e-3`; a dash if nothing is trained."""
    rates = {rate for choice in result.chosen.values() if (rate := choice.get("lr")) is not None}
    return ", ".join(f"{rate:.0e}".replace("e-0", "e-").replace("e+00", "") for rate in sorted(rates)) or "–"


def _plain(text: str) -> str:
    """Return a name with the special characters of Markdown escaped.

    >>> _plain("a|b_c")
    'a\\\\|b\\\\_c'
    """
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>|~#!&" else c for c in visible(" ".join(text.split())))


def as_latex(results: Iterable[Result]) -> str:
    r"""Return a `booktabs` table per group: upstreams in rows, tasks in columns in the order of the SUPERB paper, the best
    value bold."""
    return "\n".join(_latex(group, present) for group, present in shown(results))


def _latex(group: Group, present: Sequence[Column]) -> str:
    if is_untrained(group):
        return shot_tables.as_latex(group, present, latex.in_cell)
    return latex.table(group, present, cell_text, copies(group))
