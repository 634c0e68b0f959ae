"""Runs a function in a background process, and forwards its progress and errors."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, TypeVar, cast

from superbench.errors import EndedProcess, SuperbenchError
from superbench.system.processes import end, how_it_ended, say, start
from superbench.system.progress import Reporter

Result = TypeVar("Result")


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


def in_child(work: Callable[[Reporter], Result], reporter: Reporter, what: str) -> Result:
    """Runs `work` in another process, waits for it, and returns its value, which must be picklable; `reporter` receives its
    progress.

    This is for code that may end its process: the code of a model or a task that superbench does not bring. `what` names it.
    Raises the error of `work`; `EndedProcess` if the process ended before `work` did.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = start(_run, sender, work, threads=None)
    sender.close()
    try:
        failure, value = _heard(receiver, reporter)
    except (EOFError, ConnectionResetError):
        process.join(5)
        raise EndedProcess(
            f"{what} ended the process that ran it: the process {how_it_ended(process.exitcode or 0)} before it was done "
            "(os._exit does so, or a crash in compiled code). Mend that code, and run the same command again."
        ) from None
    finally:
        end([process])
    if failure is not None:
        raise failure
    return cast(Result, value)


def _run(pipe: Connection, work: Callable[[Reporter], Any]) -> None:
    """Main function of the background process."""
    try:
        value = work(_PipeReporter(pipe))
        say(pipe, "ended", None, value)
    except Exception as error:
        say(pipe, "ended", error, None)


def _heard(pipe: Connection, reporter: Reporter) -> tuple[BaseException | None, Any]:
    """Forwards progress until the other process has ended its work; returns its failure, if any, and its value."""
    message: tuple[Any, ...]
    while (message := pipe.recv())[0] != "ended":
        getattr(reporter, message[0])(*message[1:])
    return message[1], message[2]


def _listen(pipe: Connection, reporter: Reporter, failures: list[BaseException], block_left: threading.Event) -> None:
    """Forwards messages of the background process until it ends. A failure is reported at once, unless the block was left."""
    failure: BaseException | None
    try:
        failure, _ = _heard(pipe, reporter)
    except (EOFError, ConnectionResetError):
        failure = SuperbenchError(
            "The background process died, probably because memory ran out. Run the command again; it resumes."
        )
    if failure is not None and not block_left.is_set():
        failures.append(failure)
        reporter.note(f"failed: {failure} The other work continues.")
