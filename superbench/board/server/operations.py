"""What the scoring worker does for a request of the server: open a bundle, score and accept it, draw the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from superbench.board.board import Board
from superbench.board.page import contents, render
from superbench.board.server import sandbox
from superbench.board.storage import row_changes
from superbench.errors import Refusal, SuperbenchError, Unavailable
from superbench.results import rows
from superbench.results.published import published


def opened(board: Board, path: str) -> dict[str, Any]:
    """Checks that a file is a bundle: names, sizes, hashes and schema. Nothing is scored yet."""
    return sandbox.opened(Path(path).read_bytes())


def scored(board: Board, path: str, by: str, token: str, hidden: bool = False) -> dict[str, Any]:
    """Scores a bundle again, within limits of time and memory, and accepts it if every score is confirmed.

    `by`, `token` and `hidden`: see `Board.accept`.
    """
    receipt = board.accept(sandbox.examine(board, Path(path).read_bytes()), by, token, hidden=hidden)
    return {"upstream": receipt.upstream, "tasks": list(receipt.tasks), "digest": receipt.digest}


def rendered(board: Board, folder: str) -> dict[str, Any]:
    """Writes the page and its data as JSON into two files in `folder`.

    If rows are hidden, it also writes those for members, in the folder `members`.
    """
    empty = not board.storage.bundles()
    _write(_published_alone() if empty else board.contents(), Path(folder))
    members = bool(row_changes.hidden_names(board.storage))
    if members:
        _write(board.contents(hidden=True), Path(folder, "members"))
    return {"members": members}


def _write(shown: dict[str, Any], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "page.html").write_text(render.render(shown), encoding="utf-8")
    (folder / "board.json").write_text(json.dumps(shown, allow_nan=False, ensure_ascii=False), encoding="utf-8")


def _published_alone() -> dict[str, Any]:
    """Returns what a board without bundles shows."""
    columns = rows.columns()
    return contents.contents([rows.Group(contents.PUBLISHED, tuple(published(columns)))], columns)


OPERATIONS: Mapping[str, Callable[..., dict[str, Any]]] = {"open": opened, "score": scored, "render": rendered}


def answer(board: Board, request: Mapping[str, Any]) -> dict[str, Any]:
    """Runs the operation of a request.

    Returns `{"done": ...}`; `{"refused": ...}` with status, code and reason; `{"failed": ...}`; or `{"unavailable": ...}`
    if the board's storage cannot be used now.
    """
    operation, arguments = request["operation"], {key: value for key, value in request.items() if key != "operation"}
    try:
        return {"done": OPERATIONS[operation](board, **arguments)}
    except Refusal as error:
        return {"refused": {"status": error.status, "code": error.code, "reason": str(error)[:4000]}}
    except (Unavailable, OSError) as error:
        return {"unavailable": str(error)[:4000]}
    except SuperbenchError as error:
        return {"failed": str(error)[:4000]}
    except Exception as error:  # the server continues; the traceback is in its log
        import traceback

        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"[:4000]}
