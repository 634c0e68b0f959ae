"""`superbench serve`: the web server of a board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from superbench.cli.arguments import Create
from superbench.errors import MissingExtra, SuperbenchError
from superbench.system.ranges import require_number

if TYPE_CHECKING:
    from superbench.board.board import Board


def serve(
    board: Annotated[str, typer.Option(help="The board: a folder, a file .db (SQLite), or postgresql://USER@HOST/NAME", show_default=False)],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all addresses of this machine")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on", min=0, max=65535)] = 8000,
    megabytes: Annotated[float, typer.Option(help="Largest bundle, in MB", min=0.001)] = 300,
    hourly: Annotated[int, typer.Option(help="Most uploads of one token in an hour; refused ones count", min=1)] = 20,
    waiting: Annotated[int, typer.Option(help="Most undecided submissions of one token", min=1)] = 5,
    private: Annotated[bool, typer.Option("--private", help="Reading needs a token too; a browser asks for it as the password")] = False,
    create: Create = False,
) -> None:  # fmt: skip
    """Serve a board on the web: its page, its data as JSON, and an API for submissions.

    A submission is checked on arrival and waits in a queue that is stored with the board. A separate process scores it again;
    then the page shows it. Submitting needs a token. Put a web server with https in front of this one.

    Example: superbench token board --name alice --create, then superbench serve --board board, then alice runs
    superbench submit results --board http://HOST:8000 --token TOKEN
    """
    require_number("--megabytes", megabytes, above=0)
    try:
        from superbench.board.server.app import application
        from superbench.board.server.web_server import listening, service
    except ImportError as error:
        raise MissingExtra("Serving a board", error.name or "fastapi", "server") from error
    from superbench.board.server.fairness import Limits
    from superbench.cli.display import console

    opened = _opened(board, create)
    sockets = listening(host, port)
    limits = Limits(bytes=round(megabytes * 1e6), hourly=hourly, waiting=waiting)
    server = service(application(opened, limits, private=private))
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{sockets[0].getsockname()[1]}/"
    console.print(f"{board} at {address}  (API: /docs; stop with Ctrl-C)", markup=False)
    server.run(sockets)
    if not server.started:
        raise SuperbenchError(f"{board} cannot be served: it could not be drawn; see above.")


def _opened(address: str, create: bool) -> Board:
    """Return the board; raises an error now if it cannot be written or reached."""
    from superbench.board.addresses import require_board
    from superbench.board.board import Board

    board = Board(address)
    require_board(board.storage, create=create)
    with board.storage.writing():
        pass
    return board
