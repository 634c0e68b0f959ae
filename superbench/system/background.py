"""Runs a function in a background process, and forwards its progress and errors."""

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


class _PipeReporter:
    """A reporter in the background process that sends progress through a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def advance(self, stage: str, done: float, total: float) -> None:
        say(self.pipe, "advance", stage, done, total)

    def note(self, text: str) -> None:
        say(self.pipe, "note", text)


@contextlib.contextmanager
def in_background(work: Callable[[Reporter], None], reporter: Reporter) -> Iterator[None]:
    """Runs `work` in another process, on one thread, while the block runs. At its end, the block waits for `work`.

    `work` is a function at the top level of a module (or a `partial` of one). `reporter` receives its progress, and its failure
    as soon as it happens. The end of the block then raises the error of `work`, or `SuperbenchError` if its process died. An
    error in the block ends `work`.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = start(_run, sender, work, threads=1)
    sender.close()
    failures, block_left = list[BaseException](), threading.Event()
    listener = threading.Thread(target=_listen, args=(receiver, reporter, failures, block_left), daemon=True)
    listener.start()
    try:
        yield
        listener.join()
    finally:
        block_left.set()
        end([process])
    for failure in failures:
        raise failure


def _run(pipe: Connection, work: Callable[[Reporter], None]) -> None:
    """Main function of the background process."""
    try:
        work(_PipeReporter(pipe))
        say(pipe, "ended", None)
    except Exception as error:
        say(pipe, "ended", error)


def _listen(pipe: Connection, reporter: Reporter, failures: list[BaseException], block_left: threading.Event) -> None:
    """Forwards messages of the background process until it ends. A failure is reported at once, unless the block was left."""
    message: tuple[Any, ...]
    try:
        while (message := pipe.recv())[0] != "ended":
            getattr(reporter, message[0])(*message[1:])
        failure = message[1]
    except (EOFError, ConnectionResetError):
        failure = SuperbenchError(
            "The background process died, probably because memory ran out. Run the command again; it resumes."
        )
    if failure is not None and not block_left.is_set():
        failures.append(failure)
        reporter.note(f"failed: {failure} The other work continues.")
