"""`superbench submit` and `references`: bundles for a board, and the labels that a board scores them with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from superbench.cli.arguments import BOARD


def submit(
    folder: Annotated[Path, typer.Argument(help="What `superbench run --out` wrote, or a bundle", show_default=False)],
    board: Annotated[str, typer.Option(help=f"{BOARD}, or http(s)://HOST of one that is served", show_default=False)],
    token: Annotated[str | None, typer.Option(envvar="SUPERBENCH_TOKEN", help="Of the served board", show_default=False)] = None,
    without_references: Annotated[bool, typer.Option("--without-references", help="Leave out labels that may not be handed on (ER, IC, QbE, transcripts); the board must then have its own")] = False,
) -> None:  # fmt: skip
    """Submit results to a board. Every score is computed again from the predictions; what does not hold is refused.

    Example: superbench submit results --board board, then commit the file that it wrote into board/bundles.
    """
    from superbench.board.board import Board
    from superbench.cli.display import console

    if board.startswith(("http://", "https://")):
        from superbench.board.server.client import ServedBoard

        served = ServedBoard(board, token).submit(
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
    from superbench.board.board import Board
    from superbench.cli.display import console

    kept = Board(board)
    if add is not None:
        for one in kept.add_references(add):
            console.print(f"{one.task}: {len(one.labels)} labels of the data {one.fingerprint}", markup=False)
        return
    for name in kept.references():
        console.print(name, markup=False)
