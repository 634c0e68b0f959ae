"""`superbench report`: shows results as a table, or writes them in other formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from superbench.cli.printing import echo, echo_json
from superbench.errors import CommandError
from superbench.system.spelling import visible


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders that `superbench run --out` wrote", show_default=False)],
    format: Annotated[str, typer.Option("--format", help="table, markdown, csv, latex or json")] = "table",
) -> None:
    """Show results as a table with 95 % intervals, or write them as Markdown, CSV, LaTeX or JSON to standard output.

    Rows are compared only if they share protocol, task version and data. Example: superbench report results --format latex
    """
    from superbench.cli.display import console
    from superbench.results import tables as reports
    from superbench.results.pair_results import as_table, pair_results

    if format not in reports.FORMATS:
        raise CommandError(f"--format {format!r}: expected one of {', '.join(reports.FORMATS)}.")
    results = reports.load_results(*folders)
    for warning in reports.warnings(*folders):
        print(visible(f"superbench: {warning}"), file=sys.stderr)
    pairs = [result for folder in folders for result in pair_results(folder)]
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
