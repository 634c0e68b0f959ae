"""Examining a stranger's bundle in a process of its own, which may use only so much time and memory.

Scorers are written for honest predictions: a text made to keep a regular expression busy for hours, or turns that last for
years, must not hold up a server. `python -m superbench.board.apart SECONDS BYTES` reads a board's address (a line; it may hold
a password, which a command line would show) and a bundle. It writes what `verify.examine` found: a line of JSON and, behind it,
the evidence's files.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from superbench import registry
from superbench.board.bundle import open_bundle
from superbench.board.evidence import Evidence
from superbench.board.storage import Board, Examined
from superbench.errors import Conflict, Malformed, NotAllowed, Refusal, StoreError, TooLarge

SECONDS = 300
"""Of computing; a full bundle takes less than a minute."""
BYTES = 4_000_000_000
"""Beyond what the modules take; a full bundle takes about 1 GB."""

_KINDS = {kind.__name__: kind for kind in (Refusal, Malformed, NotAllowed, Conflict, TooLarge)}


def examine(board: Board, data: bytes, seconds: int = SECONDS, memory: int = BYTES) -> Examined:
    """`Board.examine` within bounds. Raises a `Refusal`, also for a bundle that takes more, and `StoreError` if the process
    fails for another reason."""
    bundle = open_bundle(data)
    command = [sys.executable, "-m", "superbench.board.apart", str(seconds), str(memory)]
    given = board.shelf.address.encode() + b"\n" + bundle.data
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    if done.returncode < 0:  # by the limit's signal, or for want of memory
        raise Refusal(
            f"its examination took more than {seconds} s of computing or {memory / 1e9:.1f} GB of memory; honest ones do not",
            "resources",
        )
    line, _, rest = done.stdout.partition(b"\n")
    try:
        head = json.loads(line)
    except ValueError as error:
        raise StoreError(f"The examination failed: {done.stderr.decode(errors='replace')[-500:]}") from error
    if "kind" in head:
        raise _KINDS[head["kind"]](head["text"], head["code"])
    evidence = {}
    for task, size in head["evidence"]:
        found, rest = Evidence.parse(rest[:size]), rest[size:]
        assert found is not None
        evidence[task] = found
    return Examined(bundle, evidence)


def main(seconds: int, memory: int) -> None:
    """The process: bounds itself once everything is imported, then examines what comes in."""
    address, _, data = sys.stdin.buffer.read().partition(b"\n")
    head: dict[str, Any]
    files: list[bytes] = []
    try:
        board = Board(address.decode())
        for task in open_bundle(data).entries:
            registry.task(task)
        _bound(seconds, memory)
        examined = board.examine(data)
        files = [one.to_bytes() for one in examined.evidence.values()]
        head = {"evidence": [[task, len(file)] for task, file in zip(examined.evidence, files, strict=True)]}
    except Refusal as error:
        head = {"kind": type(error).__name__, "text": str(error), "code": error.code}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + b"".join(files))


def _bound(seconds: int, memory: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, spent + seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = Path("/proc/self/statm")
    if pages.is_file():  # Linux
        mapped = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
