"""`superbench token`: makes, lists and revokes the tokens for submitting to a board's server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from superbench.cli.arguments import BOARD, Create
from superbench.cli.printing import echo
from superbench.errors import CommandError

if TYPE_CHECKING:
    from superbench.board.storage.tokens import Role


def token(
    board: Annotated[str, typer.Argument(help=BOARD, show_default=False)],
    name: Annotated[str | None, typer.Option(help="Make a token for this person or team", show_default=False)] = None,
    revoke: Annotated[str | None, typer.Option(help="Revoke the token of this name", show_default=False)] = None,
    role: Annotated[str | None, typer.Option(help="reader (sees a private board and hidden rows), submitter or admin (also changes and removes the rows of others) [default: submitter]", show_default=False)] = None,
    admin: Annotated[bool, typer.Option("--admin", help="The same as --role admin")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show all tokens, without their secret")] = False,
    create: Create = False,
) -> None:  # fmt: skip
    """Make a token for a board's server. It is printed once; the board stores only its digest.

    Example: superbench token board --name alice --create
    """
    from superbench.board.addresses import require_board, storage_at
    from superbench.board.storage import tokens
    from superbench.cli.display import console

    storage = storage_at(board)
    chosen = _role(role, admin)
    if (name is not None) + (revoke is not None) + list_ > 1:
        raise CommandError("--name, --revoke and --list exclude each other.")
    require_board(storage, create=create and not list_ and revoke is None)
    if list_:
        for entry in tokens.listed(storage):
            state = f"revoked {entry.revoked}" if entry.revoked else "valid"
            console.print(f"{entry.name}  {entry.role}  made {entry.created}  {state}", markup=False)
    elif revoke is not None:
        undecided = tokens.revoke(storage, revoke)
        waiting = "1 undecided submission" if undecided == 1 else f"{undecided} undecided submissions"
        console.print(
            f"The token of {revoke} is revoked. Its rows stay on the board; {waiting} of it will be refused.", markup=False
        )
    else:
        echo(tokens.create(storage, name or _unused(tokens.listed(storage)), chosen))


def _role(role: str | None, admin: bool) -> Role:
    """Return the role that the options ask for; raises `CommandError`."""
    from superbench.board.storage.tokens import ROLES

    if role is not None and admin and role != "admin":
        raise CommandError(f"--role {role} and --admin contradict each other. Give one of them.")
    asked = "admin" if admin else role or "submitter"
    if asked not in ROLES:
        raise CommandError(f"--role {asked!r}: expected one of {', '.join(ROLES)}.")
    return next(known for known in ROLES if known == asked)


def _unused(tokens: list) -> str:
    names = {token.name for token in tokens}
    return next(f"token-{number}" for number in range(1, len(names) + 2) if f"token-{number}" not in names)
