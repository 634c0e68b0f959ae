"""Sandbox: opens and scores an untrusted bundle in a child process with limits on computing time and memory.

An archive may unpack to far more than its size, and scorers are written for honest predictions. A text that keeps a regular
expression busy for hours, or speaker turns that last for years, must not block a server. The process is forked, so that tasks
are imported only once; it opens the board again, because a database connection cannot be shared between processes. It sends
one JSON message, then the files of the evidence.
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
from superbench.board.acceptance import Examined
from superbench.board.board import Board
from superbench.board.bundles.bundle import open_bundle
from superbench.board.bundles.evidence import Evidence
from superbench.board.server.scoring_cost import work_of
from superbench.errors import Conflict, Malformed, NotAllowed, Refusal, StoreError, TooLarge, Unavailable
from superbench.system.processes import end_with

OPENING_SECONDS, OPENING_BYTES = 20, 1_500_000_000
"""Limits for opening a bundle: seconds of computing, and memory beyond that of the imported modules (twice the largest
unpacked size)."""
SECONDS = 300
"""Limit for scoring, in seconds of computing; less for a small bundle (see `scoring_cost`). Ten tasks take under a minute."""
BYTES = 4_000_000_000
"""Limit of memory for scoring, beyond that of the imported modules. Ten tasks take about 1 GB."""

_REFUSALS = {refusal.__name__: refusal for refusal in (Refusal, Malformed, NotAllowed, Conflict, TooLarge)}
Work = Callable[[], tuple[dict[str, Any], bytes]]


def opened(data: bytes, seconds: int = OPENING_SECONDS, memory: int = OPENING_BYTES) -> dict[str, Any]:
    """Returns the upstream, tasks and digest of a bundle, without scoring it. Raises the same errors as `examine`."""

    def work() -> tuple[dict[str, Any], bytes]:
        bundle = open_bundle(data)
        return {"upstream": bundle.upstream, "tasks": sorted(bundle.entries), "digest": bundle.digest}, b""

    return _in_sandbox(work, seconds, memory, "opening it")[0]


def examine(board: Board, data: bytes, seconds: int = SECONDS, memory: int = BYTES) -> Examined:
    """Runs `Board.examine` within limits.

    Raises a `Refusal`, also for a bundle that exceeds the limits; `Unavailable` if the board's storage cannot be used now;
    `StoreError` if the process fails for another reason.
    """
    for name in opened(data)["tasks"]:
        plugins.task(name.partition("/")[0])
    address = board.storage.address

    def work() -> tuple[dict[str, Any], bytes]:
        _bound_seconds(min(float(seconds), work_of(open_bundle(data)).seconds))
        by_task = Board(address).examine(data).evidence
        files = [evidence.to_bytes() for evidence in by_task.values()]
        return {"evidence": [[task, len(file)] for task, file in zip(by_task, files, strict=True)]}, b"".join(files)

    head, rest = _in_sandbox(work, seconds, memory, "its examination")
    evidence = {}
    for task, size in head["evidence"]:
        parsed, rest = Evidence.parse(rest[:size]), rest[size:]
        assert parsed is not None
        evidence[task] = parsed
    return Examined(open_bundle(data), evidence)


def _in_sandbox(work: Work, seconds: int, memory: int, what: str) -> tuple[dict[str, Any], bytes]:
    """Runs `work` in a child process with limits; returns its result or raises its error."""
    context = multiprocessing.get_context("fork")
    answers, answer = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(answer, os.getpid(), work, seconds, memory), daemon=True)
    process.start()
    answer.close()
    try:
        head, rest = json.loads(answers.recv_bytes()), answers.recv_bytes()
    except EOFError:
        process.join()  # a negative code: ended by a signal, because a limit was exceeded or memory was exhausted
        head = {"spent": True} if (process.exitcode or 0) < 0 else {"failed": f"the process ended with {process.exitcode}"}
        rest = b""
    finally:
        answers.close()
    process.join()
    if "spent" in head:
        raise Refusal(
            f"{what} took more than {seconds} s of computing (less for a small bundle) or {memory / 1e9:.1f} GB of memory; "
            "an honest bundle needs less",
            "resources",
        )
    if "unavailable" in head:
        raise Unavailable(head["unavailable"])
    if "failed" in head:
        raise StoreError(f"The examination failed: {head['failed']}")
    if "kind" in head:
        raise _REFUSALS[head["kind"]](head["text"], head["code"])
    return head, rest


def _answer(answer: Connection, parent: int, work: Work, seconds: int, memory: int) -> None:
    """Main function of the child process: sets its limits, runs `work`, sends the result. It ends when its parent ends."""
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
        head = {"unavailable": str(error)}
    except Exception:  # every other error is sent to the parent
        head = {"failed": traceback.format_exc()[-500:]}
    answer.send_bytes(json.dumps(head).encode())
    answer.send_bytes(rest)


def _bound_seconds(seconds: float) -> None:
    """Limits the computing time from now on. The kernel ends the process after it; a limit can be lowered, not raised."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime + seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    most = until + 5 if hard == resource.RLIM_INFINITY else min(hard, until + 5)
    resource.setrlimit(resource.RLIMIT_CPU, (min(until, most), most))


def _bound_memory(size: int) -> None:
    """Limits the memory to `size` bytes more than is mapped now."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = Path("/proc/self/statm")
    if pages.is_file():  # Linux
        mapped = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + size, mapped + size))
