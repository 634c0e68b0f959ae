"""`superbench report`, `submit`, and what a board stands on: references, tokens, backup, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superbench.cli.printing import echo, echo_json
from superbench.errors import CommandError

BOARD = "The board: a folder, a file .db (SQLite), or postgresql://USER@HOST/NAME"


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
    results = reports.load_results(*folders)
    if format == "table":
        console.print(reports.terminal(results))
    elif format == "json":
        echo_json(reports.plain(results))
    else:
        writers = {"markdown": reports.as_markdown, "csv": reports.as_csv, "latex": reports.as_latex}
        echo(writers[format](results), end="")


def submit(
    folder: Annotated[Path, typer.Argument(help="What `superbench run --out` wrote, or a bundle", show_default=False)],
    board: Annotated[str, typer.Option(help=f"{BOARD}, or http(s)://HOST of one that is served", show_default=False)],
    token: Annotated[str | None, typer.Option(envvar="SUPERBENCH_TOKEN", help="Of the served board", show_default=False)] = None,
    without_references: Annotated[bool, typer.Option("--without-references", help="Leave out labels that may not be handed on (ER, IC, QbE, transcripts); the board must then have its own")] = False,
) -> None:  # fmt: skip
    """Submit results to a board. Every score is computed again from the predictions; what does not hold is refused.

    Example: superbench submit results --board board, then commit the file that it wrote into board/bundles.
    """
    from superbench.board.storage import Board
    from superbench.cli.display import console

    if board.startswith(("http://", "https://")):
        from superbench.board.client import Served

        served = Served(board, token).submit(
            folder, without_references=without_references, told=lambda text: console.print(f"  {text}", markup=False)
        )
        for one in served:
            console.print(f"{one['upstream']}: {', '.join(one['tasks'])} accepted ({board})", markup=False)
        return
    for receipt in Board(board).submit(folder, without_references=without_references):
        state = "accepted" if receipt.fresh else "was there already"
        console.print(f"{receipt.upstream}: {', '.join(receipt.tasks)} {state} ({receipt.place})", markup=False)


def references(
    board: Annotated[str, typer.Argument(help=BOARD, show_default=False)],
    add: Annotated[Path | None, typer.Option(help="Results of any model that you ran on your own copy of the corpora", show_default=False)] = None,
) -> None:  # fmt: skip
    """List the references that a board has of its own, or add some: from then on they count, not the labels in a bundle.

    Test items, labels and facts are taken from results, so run any model first, on hidden sets too:
    superbench run fbank --tasks er --data /corpora --out mine; superbench references board --add mine
    """
    from superbench.board.storage import Board
    from superbench.cli.display import console

    kept = Board(board)
    if add is not None:
        for one in kept.add_references(add):
            console.print(f"{one.task}: {len(one.labels)} labels of the data {one.fingerprint}", markup=False)
        return
    for name in kept.references():
        console.print(name, markup=False)


def token(
    board: Annotated[str, typer.Argument(help=BOARD, show_default=False)],
    name: Annotated[str | None, typer.Option(help="Make a token for this person or team", show_default=False)] = None,
    revoke: Annotated[str | None, typer.Option(help="Make the token of this name useless", show_default=False)] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Its owner may also take rows off the board")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show all tokens, without their secret")] = False,
) -> None:  # fmt: skip
    """Make a token with which somebody may submit to the served board; it is printed once, and kept as a digest only.

    Example: superbench token board --name alice
    """
    from superbench.board import tokens
    from superbench.board.storage import shelf_at
    from superbench.cli.display import console

    shelf = shelf_at(board)
    if (name is not None) + (revoke is not None) + list_ > 1:
        raise CommandError("--name, --revoke and --list do not go together.")
    if list_:
        for one in tokens.listed(shelf):
            state = f"revoked {one.revoked}" if one.revoked else "valid"
            console.print(f"{one.name}  {one.role}  made {one.created}  {state}", markup=False)
    elif revoke is not None:
        tokens.revoke(shelf, revoke)
        console.print(f"The token of {revoke} is revoked; what it submitted stays.", markup=False)
    else:
        echo(tokens.create(shelf, name or _unused(tokens.listed(shelf)), "admin" if admin else "submitter"))


def _unused(tokens: list) -> str:
    names = {one.name for one in tokens}
    return next(f"token-{number}" for number in range(1, len(names) + 2) if f"token-{number}" not in names)


def backup(
    board: Annotated[str, typer.Argument(help=BOARD, show_default=False)],
    file: Annotated[Path, typer.Argument(help="The file to write", show_default=False)],
) -> None:
    """Save a board with everything in it (bundles, references, tokens, log) as one file.

    Example: superbench backup board board-backup.zip
    """
    from superbench.board import backup as backups
    from superbench.board.storage import shelf_at
    from superbench.cli.display import console, stages
    from superbench.spelling import visible

    with stages() as reporter:
        found = backups.backup(shelf_at(board), file, lambda done, total: reporter.advance("save", done, total))
    console.print(
        f"Saved {found.bundles} bundles, {found.documents} documents, {found.events} lines of the log: {file}", markup=False
    )
    for line in found.left_out:
        console.print(f"Not saved, since it cannot be read: {visible(line)}", markup=False)


def restore(
    file: Annotated[Path, typer.Argument(help="What `superbench backup` wrote", show_default=False)],
    board: Annotated[str, typer.Argument(help=BOARD, show_default=False)],
) -> None:
    """Bring a saved board back, into a place where there is none; also from a folder into a database.

    Example: superbench restore board-backup.zip postgresql://me@localhost/board
    """
    from superbench.board import backup as backups
    from superbench.board.storage import shelf_at
    from superbench.cli.display import console, stages

    with stages() as reporter:
        found = backups.restore(file, shelf_at(board), lambda done, total: reporter.advance("restore", done, total))
    console.print(
        f"Restored {found.bundles} bundles, {found.documents} documents, {found.events} lines of the log to {board}",
        markup=False,
    )
