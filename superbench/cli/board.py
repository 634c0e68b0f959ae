"""`superbench board`: writes the page of a board; withdraws, hides, renames and transfers rows; shows the history."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from superbench.cli.arguments import BOARD, AsJson
from superbench.cli.printing import echo_json
from superbench.errors import CommandError

if TYPE_CHECKING:
    from superbench.board.board import Board
    from superbench.board.server.client import ServedBoard

PAGE = "page"


class BoardGroup(TyperGroup):
    """Treats a first word that is no subcommand as a board. A folder with the name of a subcommand is written `./history`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Inserts the command that writes the page before the board's name or the options."""
        words = {*self.commands, *ctx.help_option_names}
        if len(args) > 1 and args[0] not in words and not any(word.startswith("-") for word in args[:2]):
            near = get_close_matches(args[0], self.commands, n=1)
            meant = f"Did you mean {near[0]}?" if near else f"There are {', '.join(sorted(self.commands))}."
            raise CommandError(f"superbench board has no command {args[0]!r}. {meant}")
        return super().parse_args(ctx, [PAGE, *args] if args and args[0] not in words else args)


app = typer.Typer(
    cls=BoardGroup,
    no_args_is_help=True,
    help="Write a board as one HTML file: superbench board BOARD --out board.html (see superbench board BOARD --help). "
    "The keeper can remove a row: superbench board withdraw BOARD ROW. The commands also change rows of a served board: "
    "BOARD is then http(s)://HOST, with --token. "
    "If a board's folder has the name of a command, write ./history.",
)

Kept = Annotated[str, typer.Argument(help=BOARD, show_default=False)]
Changed = Annotated[str, typer.Argument(help=f"{BOARD}, or http(s)://HOST of its server", show_default=False)]
Row = Annotated[str, typer.Argument(help="A model's name as the page shows it", show_default=False)]
Because = Annotated[str, typer.Option(help="Why, for the board's log", show_default=False)]
Token = Annotated[str | None, typer.Option(envvar="SUPERBENCH_TOKEN", help="Token for the board's server", show_default=False)]


@app.command(PAGE)
def board(
    board: Kept,
    out: Annotated[Path, typer.Option(help="The page to write")] = Path("board.html"),
    superseded: Annotated[bool, typer.Option("--superseded", help="Also show published rows that were withdrawn or published again")] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="Also show hidden rows, marked as unpublished")] = False,
) -> None:  # fmt: skip
    """Write a board as one HTML file that opens from disk: sort, search, compare, plots, downloads.

    Bundles that are not scored yet (copied into the folder by hand, or fetched with git) are scored first. A bundle whose scores
    are not confirmed, or that cannot be drawn, is left out and listed; the exit status is then 1.
    """
    from superbench.board.board import Board
    from superbench.cli.display import console, name_broken, stages

    name_broken()
    missing: list[str] = []
    with stages() as reporter:
        refused = Board(board).write_page(
            out, lambda done, total: reporter.advance("score again", done, total), everything=superseded, hidden=hidden,
            told=missing.append,
        )  # fmt: skip
    console.print(f"Wrote {out}", markup=False)
    for sentence in missing:
        console.print(sentence, markup=False)
    for reason in refused:
        console.print(f"not shown: {reason}", markup=False)
    if refused:
        raise typer.Exit(1)


@app.command("withdraw")
def withdraw(
    board: Changed,
    row: Annotated[str, typer.Argument(help="A model's name as the page shows it, or the digest of one bundle", show_default=False)],
    because: Because = "",
    token: Token = None,
) -> None:  # fmt: skip
    """Remove a row from the board: all its versions, or one bundle if its digest is given (eight digits are enough).

    The row stays in the history. The same bundle is not accepted again; the name is free again. Example:
    superbench board withdraw board apc --because "trained on the test set"
    """
    from superbench.cli.display import console

    if served := _served(board, token):
        for digest in served.withdraw(row, because):
            console.print(f"{row}: withdrawn ({digest[:12]})", markup=False)
        return
    for stored in _kept(board).withdraw(row, why=because):
        console.print(f"{stored.upstream}: withdrawn ({stored.digest[:12] or stored.place})", markup=False)


@app.command("hide")
def hide(
    board: Changed,
    row: Row,
    undo: Annotated[bool, typer.Option("--undo", help="Show the row again")] = False,
    because: Because = "",
    token: Token = None,
) -> None:
    """Hide a row, with all its versions and those that follow: only members, who send a token to the server, see it.

    `superbench board BOARD --out FILE` leaves it out, unless --hidden is given. The owner of a row may hide it over the network.
    Example: superbench board hide board apc --because "until the paper is out"
    """
    from superbench.cli.display import console

    if served := _served(board, token):
        served.change(row, because, hidden=not undo)
    else:
        _kept(board).hide(row, why=because, hidden=not undo)
    console.print(f"{row}: {'shown to everybody' if undo else 'hidden from readers without a token'}", markup=False)


@app.command("rename")
def rename(
    board: Changed,
    row: Row,
    name: Annotated[str, typer.Argument(help="The new name", show_default=False)],
    because: Because = "",
    token: Token = None,
) -> None:
    """Give a row another name, for all its versions. The old name is free; later versions are submitted under the new name.

    Example: superbench board rename board apc apc-960h
    """
    from superbench.cli.display import console

    if served := _served(board, token):
        served.change(row, because, name=name)
    else:
        _kept(board).rename(row, name, why=because)
    console.print(f"{row}: renamed to {name}", markup=False)


@app.command("transfer")
def transfer(
    board: Changed,
    row: Row,
    owner: Annotated[str, typer.Argument(help="The name of a token that may submit, or keeper", show_default=False)],
    because: Because = "",
    token: Token = None,
) -> None:
    """Give a row to another owner, who alone may then submit versions of it.

    Example: superbench board transfer team.db apc bob --because "Alice has left"
    """
    from superbench.cli.display import console

    if served := _served(board, token):
        served.change(row, because, owner=owner)
    else:
        _kept(board).transfer(row, owner, why=because)
    console.print(f"{row}: belongs to {owner}", markup=False)


def _served(board: str, token: str | None) -> ServedBoard | None:
    """Return the client of a served board; None for the address of a storage."""
    from superbench.board.addresses import is_web

    if not is_web(board):
        return None
    from superbench.board.server.client import ServedBoard

    return ServedBoard(board, token)


def _kept(board: str) -> Board:
    """Return the board in a storage; raises `CommandError` if there is none."""
    from superbench.board.addresses import require_board
    from superbench.board.board import Board

    opened = Board(board)
    require_board(opened.storage)
    return opened


@app.command("history")
def history(
    board: Kept,
    row: Annotated[str | None, typer.Argument(help="A model's name, or the digest of one bundle [default: all]", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show the accepted bundles, the latest last: time, token, revision, and which of their tasks the board shows
    (others are in brackets). What the page does not show is "not shown", with the reason.

    Example: superbench board history board apc
    """
    from dataclasses import asdict

    from rich.table import Table
    from rich.text import Text

    from superbench.cli.display import console, stages

    opened = _kept(board)
    with stages() as reporter:
        versions = opened.history(row, lambda done, total: reporter.advance("score again", done, total))
    if as_json:
        echo_json([asdict(version) for version in versions])
        return
    table = Table("accepted (UTC)", "model", "by", "bundle", "revision", "tasks on the board", "state")
    for version in versions:
        state = ": ".join(filter(None, (version.state, version.why)))
        tasks = " ".join(task if task in version.standing else f"({task})" for task in version.tasks)
        accepted, by = version.accepted or "by hand", version.by or "keeper"
        by += "" if version.owner == version.by else f", now {version.owner or 'keeper'}"
        cells = (accepted, version.upstream, by, version.digest[:12], version.revision[:12], tasks, state)
        table.add_row(*map(Text, cells))
    console.print(table)
