"""The scoring worker: a process of the server that opens, scores and accepts bundles, so that readers never wait for it.

The first line of standard input is the board's address (not an argument, because it may contain a password). Then each line is
a request, and each line of standard output is its answer, both JSON. The process ends at the end of its input, and at once when
the server ends, whose process id is its argument. A killed server thus leaves no process behind; acceptance is a transaction of
the board, made completely or not at all.
"""

from __future__ import annotations

import json
import os
import sys

from superbench.system.processes import end_with


def main() -> None:
    """Answers requests until the input or the server ends."""
    end_with(int(sys.argv[1]))  # before the libraries load, which takes seconds: a server killed meanwhile leaves nothing
    from superbench.board.board import Board
    from superbench.board.server.operations import answer

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the output of libraries must not be mixed with the answers
    os.nice(5)  # the server has priority
    board = Board(sys.stdin.readline().rstrip("\n"))
    for line in sys.stdin:
        print(json.dumps(answer(board, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
