"""`superbench board`: a board as a page, and what its keeper decides about its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from superbench.cli.arguments import BOARD, AsJson
from superbench.cli.printing import echo_json

PAGE = "page"


class BoardGroup(TyperGroup):
    """Writes the page where the first word is no subcommand; a board in a folder of such a name is written `./history`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the hidden command that writes the page before a board's name, or before its options."""
        words = {name for name, command in self.commands.items() if not command.hidden} | set(ctx.help_option_names)
        return super().parse_args(ctx, [PAGE, *args] if args and args[0] not in words else args)


app = typer.Typer(
    cls=BoardGroup,
    no_args_is_help=True,
    help="Write a board as one HTML file: superbench board BOARD --out board.html (see superbench board BOARD --help). "
    "Or decide about its rows, as its keeper: superbench board withdraw BOARD ROW. "
    "A board in a folder that is called like a command is written ./history.",
)

Kept = Annotated[str, typer.Argument(help=BOARD, show_default=False)]


@app.command(PAGE, hidden=True)
def board(
    board: Kept,
    out: Annotated[Path, typer.Option(help="The page to write")] = Path("board.html"),
    superseded: Annotated[bool, typer.Option("--superseded", help="Show published rows that were withdrawn or printed anew, too")] = False,
) -> None:  # fmt: skip
    """Write a board as one HTML file that opens from disk: sort, search, compare, plots, downloads.

    Bundles that nobody scored yet (put into the folder by hand, or fetched with git) are scored first; one that does not hold,
    or cannot be drawn, is left out, and said; the exit status is then 1.
    """
    from superbench.board.board import Board
    from superbench.cli.display import console, name_broken, stages

    name_broken()
    with stages() as reporter:
        refused = Board(board).write_page(
            out, lambda done, total: reporter.advance("score again", done, total), everything=superseded
        )
    console.print(f"Wrote {out}", markup=False)
    for reason in refused:
        console.print(f"not shown: {reason}", markup=False)
    if refused:
        raise typer.Exit(1)


@app.command("withdraw")
def withdraw(
    board: Kept,
    row: Annotated[str, typer.Argument(help="A model's name as the page shows it, or the digest of one bundle", show_default=False)],
    because: Annotated[str, typer.Option(help="Why, for the board's log", show_default=False)] = "",
) -> None:  # fmt: skip
    """Take a row off the board: all its versions, or the one bundle whose digest is given (eight digits are enough).

    It stays in the history; the same bundle is not accepted again, the name is free. Example:
    superbench board withdraw board apc --because "trained on the test set"
    """
    from superbench.board.board import Board
    from superbench.cli.display import console

    for one in Board(board).withdraw(row, why=because):
        console.print(f"{one.upstream}: withdrawn ({one.digest[:12] or one.place})", markup=False)


@app.command("history")
def history(
    board: Kept,
    row: Annotated[str | None, typer.Argument(help="A model's name, or the digest of one bundle [default: all]", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what was accepted, the latest last: when, by whom, which revision, and which of its tasks the board shows.

    Example: superbench board history board apc
    """
    from dataclasses import asdict

    from rich.table import Table
    from rich.text import Text

    from superbench.board.board import Board
    from superbench.cli.display import console

    found = Board(board).history(row)
    if as_json:
        echo_json([asdict(one) for one in found])
        return
    table = Table("accepted (UTC)", "model", "by", "bundle", "revision", "tasks on the board", "state")
    for one in found:
        told = f"{one.state} {one.why}".strip()
        tasks = " ".join(task if task in one.standing else f"({task})" for task in one.tasks)
        cells = (one.accepted or "by hand", one.upstream, one.by or "keeper", one.digest[:12], one.revision[:12], tasks, told)
        table.add_row(*map(Text, cells))
    console.print(table)
