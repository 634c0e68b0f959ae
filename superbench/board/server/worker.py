"""The process beside a server that opens, scores and accepts bundles, so that readers never wait for it.

The board's address is the first line of standard input (it may hold a password, which a command line would show); then one
request per line, and one answer per line on standard output, both JSON. It ends when its input does, and at once when the
server does, whose number is its argument: a server that is killed leaves no process behind, and acceptance is a transaction of
the board, whole or not at all.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from superbench.board.board import Board
from superbench.board.page import contents, render
from superbench.board.server import sandbox
from superbench.errors import Refusal, SuperbenchError, Unavailable
from superbench.results import rows
from superbench.results.published import published
from superbench.system.processes import end_with


def opened(board: Board, path: str) -> dict[str, Any]:
    """Is it a bundle at all? Names, sizes, hashes, schema; no score is looked at yet."""
    return sandbox.opened(Path(path).read_bytes())


def judged(board: Board, path: str, by: str) -> dict[str, Any]:
    """Score it again, within bounds of time and memory, and accept it if every score is true."""
    receipt = board.accept(sandbox.examine(board, Path(path).read_bytes()), by)
    return {"upstream": receipt.upstream, "tasks": list(receipt.tasks), "digest": receipt.digest}


def rendered(board: Board, folder: str) -> dict[str, Any]:
    """The page and the same as JSON, as two files in `folder`."""
    shown = board.contents() if board.storage.bundles() else _published_alone()
    Path(folder, "page.html").write_text(render.render(shown), encoding="utf-8")
    Path(folder, "board.json").write_text(json.dumps(shown, allow_nan=False, ensure_ascii=False), encoding="utf-8")
    return {"models": len({row["name"] for group in shown["groups"] for row in group["rows"] if not group["official"]})}


def _published_alone() -> dict[str, Any]:
    """What a board shows that has no bundle yet."""
    columns = rows.columns()
    return contents.contents([rows.Group(contents.PUBLISHED, tuple(published(columns)))], columns)


OPERATIONS: Mapping[str, Callable[..., dict[str, Any]]] = {"open": opened, "score": judged, "render": rendered}


def answer(board: Board, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do an operation: `{"done": ...}`, or `{"refused": ...}` with status, code and reason, or `{"failed": ...}`, or
    `{"away": ...}` where the board's storage cannot be used now."""
    operation, arguments = request["operation"], {key: value for key, value in request.items() if key != "operation"}
    try:
        return {"done": OPERATIONS[operation](board, **arguments)}
    except Refusal as error:
        return {"refused": {"status": error.status, "code": error.code, "reason": str(error)[:4000]}}
    except (Unavailable, OSError) as error:
        return {"away": str(error)[:4000]}
    except SuperbenchError as error:
        return {"failed": str(error)[:4000]}
    except Exception as error:  # the server goes on; what happened is in its log
        import traceback

        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"[:4000]}


def main() -> None:
    """Answer until the input ends, or the server."""
    end_with(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not stand among the answers
    os.nice(10)  # readers come first
    board = Board(sys.stdin.readline().rstrip("\n"))
    for line in sys.stdin:
        print(json.dumps(answer(board, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
