"""`superbench backup` and `restore`: a complete board in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superbench.cli.arguments import BOARD


def backup(
    board: Annotated[str, typer.Argument(help=BOARD, show_default=False)],
    file: Annotated[Path, typer.Argument(help="The file to write", show_default=False)],
) -> None:
    """Save a complete board (bundles, references, tokens, log) as one file.

    Example: superbench backup board board-backup.zip
    """
    from superbench.board.board import storage_at
    from superbench.board.storage import backup as backups
    from superbench.cli.display import console, stages
    from superbench.system.spelling import visible

    with stages() as reporter:
        saved = backups.backup(storage_at(board), file, lambda done, total: reporter.advance("save", done, total))
    console.print(
        f"Saved {saved.bundles} bundles, {saved.documents} documents, {saved.events} lines of the log: {file}", markup=False
    )
    for line in saved.left_out:
        console.print(f"Not saved, because it cannot be read: {visible(line)}", markup=False)


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `superbench backup` wrote", show_default=False)],
    board: Annotated[str, typer.Argument(help=BOARD, show_default=False)],
) -> None:
    """Restore a saved board into a new folder or an empty database. It may be saved from a folder and restored into a database.

    Example: superbench restore board-backup.zip postgresql://me@localhost/board
    """
    from superbench.board.board import storage_at
    from superbench.board.storage import backup as backups
    from superbench.cli.display import console, stages

    with stages() as reporter:
        saved = backups.restore(file, storage_at(board), lambda done, total: reporter.advance("restore", done, total))
    console.print(
        f"Restored {saved.bundles} bundles, {saved.documents} documents, {saved.events} lines of the log to {board}",
        markup=False,
    )
