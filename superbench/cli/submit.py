"""`superbench submit` and `references`: submit bundles to a board, and add the labels that it scores them with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superbench.cli.arguments import BOARD

if TYPE_CHECKING:
    from superbench.board.acceptance import SubmissionReceipt


def submit(
    folders: Annotated[list[Path], typer.Argument(help="Folders that `superbench run --out` wrote, or bundles", show_default=False)],
    board: Annotated[str, typer.Option(help=f"{BOARD}, or http(s)://HOST of its server", show_default=False)],
    token: Annotated[str | None, typer.Option(envvar="SUPERBENCH_TOKEN", help="Token for the board's server", show_default=False)] = None,
    without_references: Annotated[bool, typer.Option("--without-references", help="Leave out labels whose licence forbids sharing (ER, IC, QbE, transcripts); the board must then have its own")] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="Only members, who send a token, see the rows; superbench board hide --undo shows them")] = False,
) -> None:  # fmt: skip
    """Submit results to a board. Every score is computed again from the predictions; a bundle with a wrong score is refused.

    Each upstream is one bundle, accepted completely or refused; a refused one does not stop the others. If any was refused, the
    last lines say which are on the board and which are not, and the exit status is 1.

    Example: superbench submit results --board board, then commit the file that it wrote into board/bundles.
    """
    from superbench.board.addresses import is_web
    from superbench.board.board import Board
    from superbench.cli.display import console

    if is_web(board):
        from superbench.board.server.client import ServedBoard

        states = ServedBoard(board, token).submit(
            folders,
            without_references=without_references,
            hidden=hidden,
            report=lambda text: console.print(f"  {text}", markup=False),
        )
        for state in states:
            if state["state"] == "present":
                console.print(f"{state['upstream']}: already on the board ({state['reason']})", markup=False)
                continue
            console.print(f"{state['upstream']}: {', '.join(state['tasks'])} accepted ({board})", markup=False)
        return

    def told(receipt: SubmissionReceipt) -> None:
        outcome = "accepted" if receipt.fresh else "already on the board"
        outcome += ", hidden" if receipt.hidden else ""
        console.print(f"{receipt.upstream}: {', '.join(receipt.tasks)} {outcome} ({receipt.place})", markup=False)

    Board(board).submit(folders, without_references=without_references, hidden=hidden, told=told)


def references(
    board: Annotated[str, typer.Argument(help=BOARD, show_default=False)],
    add: Annotated[Path | None, typer.Option(help="Results of any model that you ran on your own copy of the corpora", show_default=False)] = None,
) -> None:  # fmt: skip
    """List the board's own references, or add some. From then on the board scores with them, not with the labels in a bundle.

    Test items, labels and facts are taken from results, also for hidden test sets. So run any model first:
    superbench run fbank --tasks er --data /corpora --out mine; superbench references board --add mine
    """
    from superbench.board.addresses import require_board
    from superbench.board.board import Board
    from superbench.cli.display import console

    opened = Board(board)
    if add is None:
        require_board(opened.storage)
    if add is not None:
        for added in opened.add_references(add):
            console.print(f"{added.task}: {len(added.labels)} labels of the data {added.fingerprint}", markup=False)
        return
    for name in opened.references():
        console.print(name, markup=False)
