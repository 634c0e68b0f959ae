"""`superbench report`: shows results as a table, or writes them in other formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superbench.cli.printing import echo, echo_json
from superbench.errors import CommandError
from superbench.system.spelling import visible

if TYPE_CHECKING:
    from superbench.results import Result


def report(
    folders: Annotated[
        list[str], typer.Argument(help="Folders that `superbench run --out` wrote, or boards", show_default=False)
    ],
    format: Annotated[str, typer.Option("--format", help="table, markdown, csv, latex or json")] = "table",
) -> None:
    """Show results as a table with 95 % intervals, or write them as Markdown, CSV, LaTeX or JSON to standard output.

    Rows are compared only if they share protocol, task version and data. LaTeX has the tasks in columns, in the order of the
    SUPERB paper. A board is a folder, a file .db or a database URL. Results that are damaged, or that were edited, are left out
    and named; the exit status is then 1. Example: superbench report results --format latex
    """
    from superbench.cli.display import console
    from superbench.results import tables as reports
    from superbench.results.pair_results import as_table, pair_results

    if format not in reports.FORMATS:
        raise CommandError(f"--format {format!r}: expected one of {', '.join(reports.FORMATS)}.")
    boards = [folder for folder in folders if is_board(folder)]
    places = [Path(folder) for folder in folders if folder not in boards]
    results, wrong = reports.whole_results(*places)
    results += [result for board in boards for result in results_on(board)]
    for reason in wrong:
        print(visible(f"superbench: left out: {reason}"), file=sys.stderr)
    pairs = [result for folder in places for result in pair_results(folder)]
    if boards and not results and not pairs:
        message = f"{boards[0]} shows no row; `superbench board history {boards[0]}` lists those that are hidden or withdrawn."
        print(visible(f"superbench: {message}"), file=sys.stderr)
    if format == "table":
        if results:
            console.print(reports.terminal(results))
        if pairs:
            console.print(as_table(pairs))
    elif format == "json":
        echo_json([*reports.plain(results), *(result.model_dump(mode="json", by_alias=True) for result in pairs)])
    else:
        writers = {"markdown": reports.as_markdown, "csv": reports.as_csv, "latex": reports.as_latex}
        echo(writers[format](results), end="")
    if wrong:
        raise typer.Exit(1)


def is_board(address: str) -> bool:
    """Return whether an argument names a board: a database, or a folder of bundles without results."""
    from superbench.results import find_results

    path = Path(address)
    return "://" in address or path.suffix == ".db" or ((path / "bundles").is_dir() and not find_results(path))


def results_on(address: str) -> list[Result]:
    """Return the results on a board, the latest one for each upstream and task."""
    from superbench.board.board import Board

    return Board(address).results()
