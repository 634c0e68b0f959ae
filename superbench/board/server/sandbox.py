"""Opening and examining a stranger's bundle in a process of its own, which may use only so much time and memory.

Archives may unpack to far more than they weigh, and scorers are written for honest predictions: a text made to keep a regular
expression busy for hours, or turns that last for years, must not hold up a server. The process is forked, so that tasks are
imported once and not for every bundle; it opens the board anew, for a connection cannot be shared. It answers by lines of JSON
and, behind them, the evidence's files.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from superbench import plugins
from superbench.board.board import Board, Examined
from superbench.board.bundles.bundle import open_bundle
from superbench.board.bundles.evidence import Evidence
from superbench.board.server.scoring_cost import work_of
from superbench.errors import Conflict, Malformed, NotAllowed, Refusal, StoreError, TooLarge, Unavailable
from superbench.system.processes import end_with

OPENING_SECONDS, OPENING_BYTES = 20, 1_500_000_000
"""Of computing, and beyond what the modules take: twice what a bundle unpacks to at most."""
SECONDS = 300
"""Of computing, where a bundle's own work allows as much (see `work`); a full bundle takes less than a minute."""
BYTES = 4_000_000_000
"""Beyond what the modules take; a full bundle takes about 1 GB."""

_REFUSALS = {kind.__name__: kind for kind in (Refusal, Malformed, NotAllowed, Conflict, TooLarge)}
Work = Callable[[], tuple[dict[str, Any], bytes]]


def opened(data: bytes, seconds: int = OPENING_SECONDS, memory: int = OPENING_BYTES) -> dict[str, Any]:
    """Name, tasks and digest of a bundle; no score is looked at. Raises as `examine` does."""

    def work() -> tuple[dict[str, Any], bytes]:
        bundle = open_bundle(data)
        return {"upstream": bundle.upstream, "tasks": sorted(bundle.entries), "digest": bundle.digest}, b""

    return _in_sandbox(work, seconds, memory, "opening it")[0]


def examine(board: Board, data: bytes, seconds: int = SECONDS, memory: int = BYTES) -> Examined:
    """`Board.examine` within bounds. Raises a `Refusal`, also for a bundle that takes more, `Unavailable` where the
    board's storage cannot be used now, and `StoreError` if the process fails for another reason."""
    for task in opened(data)["tasks"]:
        plugins.task(task)
    address = board.storage.address

    def work() -> tuple[dict[str, Any], bytes]:
        _bound_seconds(min(float(seconds), work_of(open_bundle(data)).seconds))
        found = Board(address).examine(data).evidence
        files = [one.to_bytes() for one in found.values()]
        return {"evidence": [[task, len(file)] for task, file in zip(found, files, strict=True)]}, b"".join(files)

    head, rest = _in_sandbox(work, seconds, memory, "its examination")
    evidence = {}
    for task, size in head["evidence"]:
        one, rest = Evidence.parse(rest[:size]), rest[size:]
        assert one is not None
        evidence[task] = one
    return Examined(open_bundle(data), evidence)


def _in_sandbox(work: Work, seconds: int, memory: int, what: str) -> tuple[dict[str, Any], bytes]:
    """What `work` returns in a process of its own. Raises what it raises."""
    context = multiprocessing.get_context("fork")
    answers, answer = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(answer, os.getpid(), work, seconds, memory), daemon=True)
    process.start()
    answer.close()
    try:
        head, rest = json.loads(answers.recv_bytes()), answers.recv_bytes()
    except EOFError:
        process.join()  # negative: ended by a signal, the limit's or for want of memory
        head = {"spent": True} if (process.exitcode or 0) < 0 else {"failed": f"the process ended with {process.exitcode}"}
        rest = b""
    finally:
        answers.close()
    process.join()
    if "spent" in head:
        raise Refusal(
            f"{what} took more than {seconds} s of computing (less where there is less in it) or {memory / 1e9:.1f} GB of "
            "memory; honest ones do not",
            "resources",
        )
    if "away" in head:
        raise Unavailable(head["away"])
    if "failed" in head:
        raise StoreError(f"The examination failed: {head['failed']}")
    if "kind" in head:
        raise _REFUSALS[head["kind"]](head["text"], head["code"])
    return head, rest


def _answer(answer: Connection, parent: int, work: Work, seconds: int, memory: int) -> None:
    """The process: bounds itself, then works. It ends with the one that asked, which may be killed at any moment."""
    end_with(parent)
    head: dict[str, Any]
    rest = b""
    try:
        _bound_seconds(seconds)
        _bound_memory(memory)
        head, rest = work()
    except Refusal as error:
        head = {"kind": type(error).__name__, "text": str(error), "code": error.code}
    except MemoryError:
        head = {"spent": True}
    except (Unavailable, OSError) as error:
        head = {"away": str(error)}
    except Exception:  # whatever it is, the server hears of it
        head = {"failed": traceback.format_exc()[-500:]}
    answer.send_bytes(json.dumps(head).encode())
    answer.send_bytes(rest)


def _bound_seconds(seconds: float) -> None:
    """Of computing from now on. The kernel ends the process when they are spent; a bound can be made smaller, not larger."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime + seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    most = until + 5 if hard == resource.RLIM_INFINITY else min(hard, until + 5)
    resource.setrlimit(resource.RLIMIT_CPU, (min(until, most), most))


def _bound_memory(size: int) -> None:
    """Beyond what is mapped now."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = Path("/proc/self/statm")
    if pages.is_file():  # Linux
        mapped = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + size, mapped + size))
