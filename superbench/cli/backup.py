"""`superbench backup` and `restore`: a whole board in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superbench.cli.arguments import BOARD


def backup(
    board: Annotated[str, typer.Argument(help=BOARD, show_default=False)],
    file: Annotated[Path, typer.Argument(help="The file to write", show_default=False)],
) -> None:
    """Save a board with everything in it (bundles, references, tokens, log) as one file.

    Example: superbench backup board board-backup.zip
    """
    from superbench.board.board import storage_at
    from superbench.board.storage import backup as backups
    from superbench.cli.display import console, stages
    from superbench.system.spelling import visible

    with stages() as reporter:
        found = backups.backup(storage_at(board), file, lambda done, total: reporter.advance("save", done, total))
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
    from superbench.board.board import storage_at
    from superbench.board.storage import backup as backups
    from superbench.cli.display import console, stages

    with stages() as reporter:
        found = backups.restore(file, storage_at(board), lambda done, total: reporter.advance("restore", done, total))
    console.print(
        f"Restored {found.bundles} bundles, {found.documents} documents, {found.events} lines of the log to {board}",
        markup=False,
    )
