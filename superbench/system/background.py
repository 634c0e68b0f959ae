"""A piece of work in a process of its own, beside what this process does meanwhile."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from superbench.errors import SuperbenchError
from superbench.system.processes import end, say, start
from superbench.system.progress import Reporter


class _Wire:
    """A reporter at the other process' end of a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def advance(self, stage: str, done: float, total: float) -> None:
        say(self.pipe, "advance", stage, done, total)

    def note(self, text: str) -> None:
        say(self.pipe, "note", text)


@contextlib.contextmanager
def beside(work: Callable[[Reporter], None], reporter: Reporter) -> Iterator[None]:
    """`work` goes on in another process, on one thread, while the block runs; leaving the block waits for its end.

    `work` is a function at the top level of a module (or a `partial` of one). Its progress comes to `reporter`, and so does its
    failure, at once; leaving the block then raises what `work` raised, or `SuperbenchError` where its process died. An error in
    the block ends `work`.
    """
    here, there = multiprocessing.Pipe(duplex=False)
    process = start(_do, there, work, threads=1)
    there.close()
    failures, unwanted = list[BaseException](), threading.Event()
    listener = threading.Thread(target=_listen, args=(here, reporter, failures, unwanted), daemon=True)
    listener.start()
    try:
        yield
        listener.join()
    finally:
        unwanted.set()
        end([process])
    for failure in failures:
        raise failure


def _do(pipe: Connection, work: Callable[[Reporter], None]) -> None:
    """The other process' life."""
    try:
        work(_Wire(pipe))
        say(pipe, "ended", None)
    except Exception as error:
        say(pipe, "ended", error)


def _listen(pipe: Connection, reporter: Reporter, failures: list[BaseException], unwanted: threading.Event) -> None:
    """Pass on what the other process says, until it has ended. A failure is told at once, unless the block has been left."""
    said: tuple[Any, ...]
    try:
        while (said := pipe.recv())[0] != "ended":
            getattr(reporter, said[0])(*said[1:])
        failure = said[1]
    except (EOFError, ConnectionResetError):
        failure = SuperbenchError("The process beside died, most likely for want of memory. Run again; it goes on.")
    if failure is not None and not unwanted.is_set():
        failures.append(failure)
        reporter.note(f"failed: {failure} What runs beside it goes on.")
