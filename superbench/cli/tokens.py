"""`superbench token`: who may submit to a board that is served."""

from __future__ import annotations

from typing import Annotated

import typer

from superbench.cli.arguments import BOARD
from superbench.cli.printing import echo
from superbench.errors import CommandError


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
    from superbench.board.board import storage_at
    from superbench.board.storage import tokens
    from superbench.cli.display import console

    storage = storage_at(board)
    if (name is not None) + (revoke is not None) + list_ > 1:
        raise CommandError("--name, --revoke and --list do not go together.")
    if list_:
        for one in tokens.listed(storage):
            state = f"revoked {one.revoked}" if one.revoked else "valid"
            console.print(f"{one.name}  {one.role}  made {one.created}  {state}", markup=False)
    elif revoke is not None:
        tokens.revoke(storage, revoke)
        console.print(f"The token of {revoke} is revoked; what it submitted stays.", markup=False)
    else:
        echo(tokens.create(storage, name or _unused(tokens.listed(storage)), "admin" if admin else "submitter"))


def _unused(tokens: list) -> str:
    names = {one.name for one in tokens}
    return next(f"token-{number}" for number in range(1, len(names) + 2) if f"token-{number}" not in names)
