"""`superbench report`, `submit`, `board`: results as a table, onto a board, and the board as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superbench.errors import CommandError


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders that `superbench run --out` wrote", show_default=False)],
    format: Annotated[str, typer.Option("--format", help="table, markdown, csv, latex or json")] = "table",
) -> None:
    """Show results as a table with 95 % intervals, or write them as Markdown, CSV, LaTeX or JSON to standard output.

    Rows are compared only where protocol, task version and data agree. Example: superbench report results --format latex
    """
    from superbench import report as reports
    from superbench.cli.display import console

    if format not in reports.FORMATS:
        raise CommandError(f"--format {format!r}: expected one of {', '.join(reports.FORMATS)}.")
    results = reports.collect(folders)
    if format == "table":
        console.print(reports.terminal(results))
    else:
        writers = {"markdown": reports.as_markdown, "csv": reports.as_csv, "latex": reports.as_latex, "json": reports.as_json}
        writer = writers[format]
        typer.echo(writer(results), nl=False)


def submit(
    folder: Annotated[Path, typer.Argument(help="What `superbench run --out` wrote, or a bundle", show_default=False)],
    board: Annotated[str, typer.Option(help="The board: a folder", show_default=False)],
) -> None:
    """Submit results to a board. Every score is computed again from the predictions; what does not hold is refused."""
    from superbench.board.storage import Board
    from superbench.cli.display import console

    for receipt in Board(board).submit(folder):
        state = "accepted" if receipt.fresh else "was there already"
        console.print(f"{receipt.upstream}: {', '.join(receipt.tasks)} {state} ({receipt.path})", markup=False)


def board(
    board: Annotated[str, typer.Argument(help="The board: a folder", show_default=False)],
    out: Annotated[Path, typer.Option(help="The page to write")] = Path("board.html"),
) -> None:
    """Write a board as one HTML file that opens from disk: sort, search, compare, plots, downloads."""
    from superbench.board.storage import Board
    from superbench.cli.display import console

    console.print(f"Wrote {Board(board).write_page(out)}", markup=False)
