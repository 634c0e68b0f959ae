"""Examining a stranger's bundle in a process of its own, which may use only so much time and memory.

Scorers are written for honest predictions: a text made to keep a regular expression busy for hours, or turns that last for
years, must not hold up a server. The process is forked, so that tasks are imported once and not for every bundle; it opens the
board anew, for a connection cannot be shared. It answers by a line of JSON and, behind it, the evidence's files.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from superbench import registry
from superbench.board.bundle import open_bundle
from superbench.board.evidence import Evidence
from superbench.board.storage import Board, Examined
from superbench.errors import Conflict, Malformed, NotAllowed, Refusal, StoreError, TooLarge, Unavailable
from superbench.processes import end_with

SECONDS = 300
"""Of computing; a full bundle takes less than a minute."""
BYTES = 4_000_000_000
"""Beyond what the modules take; a full bundle takes about 1 GB."""

_KINDS = {kind.__name__: kind for kind in (Refusal, Malformed, NotAllowed, Conflict, TooLarge)}


def examine(board: Board, data: bytes, seconds: int = SECONDS, memory: int = BYTES) -> Examined:
    """`Board.examine` within bounds. Raises a `Refusal`, also for a bundle that takes more, `Unavailable` where the
    board's storage cannot be used now, and `StoreError` if the process fails for another reason."""
    bundle = open_bundle(data)
    for task in bundle.entries:
        registry.task(task)
    context = multiprocessing.get_context("fork")
    answers, answer = context.Pipe(duplex=False)
    process = context.Process(
        target=_answer, args=(answer, os.getpid(), board.shelf.address, data, seconds, memory), daemon=True
    )
    process.start()
    answer.close()
    try:
        head, rest = json.loads(answers.recv_bytes()), answers.recv_bytes()
    except EOFError:
        process.join()  # negative: ended by a signal, the limit's or for want of memory
        head = {"spent": True} if (process.exitcode or 0) < 0 else {"failed": f"the process ended with {process.exitcode}"}
        rest = b""
    process.join()
    if "spent" in head:
        raise Refusal(
            f"its examination took more than {seconds} s of computing or {memory / 1e9:.1f} GB of memory; honest ones do not",
            "resources",
        )
    if "away" in head:
        raise Unavailable(head["away"])
    if "failed" in head:
        raise StoreError(f"The examination failed: {head['failed']}")
    if "kind" in head:
        raise _KINDS[head["kind"]](head["text"], head["code"])
    evidence = {}
    for task, size in head["evidence"]:
        found, rest = Evidence.parse(rest[:size]), rest[size:]
        assert found is not None
        evidence[task] = found
    return Examined(bundle, evidence)


def _answer(answer: Connection, parent: int, address: str, data: bytes, seconds: int, memory: int) -> None:
    """The process: bounds itself, then examines. It ends with the one that asked, which may be killed at any moment."""
    end_with(parent)
    head: dict[str, Any]
    files: list[bytes] = []
    try:
        _bound(seconds, memory)
        examined = Board(address).examine(data)
        files = [one.to_bytes() for one in examined.evidence.values()]
        head = {"evidence": [[task, len(file)] for task, file in zip(examined.evidence, files, strict=True)]}
    except Refusal as error:
        head = {"kind": type(error).__name__, "text": str(error), "code": error.code}
    except MemoryError:
        head = {"spent": True}
    except (Unavailable, OSError) as error:
        head = {"away": str(error)}
    except Exception:  # whatever it is, the server hears of it
        head = {"failed": traceback.format_exc()[-500:]}
    answer.send_bytes(json.dumps(head).encode())
    answer.send_bytes(b"".join(files))


def _bound(seconds: int, memory: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, spent + seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = Path("/proc/self/statm")
    if pages.is_file():  # Linux
        mapped = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))
