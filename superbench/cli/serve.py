"""`superbench serve`: a board on the web."""

from __future__ import annotations

from typing import Annotated

import typer

from superbench.errors import CommandError, MissingExtra
from superbench.system.ranges import require_number


def serve(
    board: Annotated[str, typer.Option(help="The board: a folder, a file .db (SQLite), or postgresql://USER@HOST/NAME", show_default=False)],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: every one of this machine")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on", min=0, max=65535)] = 8000,
    megabytes: Annotated[float, typer.Option(help="Largest bundle", min=0.001)] = 300,
    hourly: Annotated[int, typer.Option(help="Uploads of one token within an hour; refused ones count", min=1)] = 20,
    waiting: Annotated[int, typer.Option(help="Submissions of one token that wait at once", min=1)] = 5,
) -> None:  # fmt: skip
    """Serve a board: its page, the same as JSON, and a counter for submissions.

    A submission is looked at when it comes, waits in a queue that survives the server, is scored again by a process of its own,
    and then stands on the page. Who may submit has a token. Put a web server that speaks https in front of it.

    Example: superbench token board --name alice, then superbench serve --board board, then alice says
    superbench submit results --board http://HOST:8000 --token TOKEN
    """
    require_number("--megabytes", megabytes, above=0)
    try:
        from superbench.board.server.app import application
        from superbench.board.server.web_server import service
    except ImportError as error:
        raise MissingExtra("Serving a board", error.name or "fastapi", "server") from error
    from superbench.board.board import Board
    from superbench.board.server.fairness import Limits
    from superbench.cli.display import console

    kept = Board(board)
    with kept.storage.writing():  # a folder that cannot be written, a database that is away: said now
        pass
    limits = Limits(bytes=round(megabytes * 1e6), hourly=hourly, waiting=waiting)
    server = service(application(kept, limits), host, port)
    console.print(f"{board} at http://{host}:{port}/  (API: /docs; stop with Ctrl-C)", markup=False)
    server.run()
    if not server.started:
        raise CommandError(
            f"Could not listen on {host}:{port}, or the board could not be drawn; see above. Try another --port."
        )
