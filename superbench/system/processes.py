"""Child processes: they end with their parent, and keyboard interrupts do not reach them."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

LIBRARIES = ("torch._dynamo", "torch.utils.flop_counter", "torchaudio.compliance.kaldi", "scipy.stats", "pydantic")
"""Modules that every job needs and that take seconds to load. None uses a GPU or starts a thread (a fork loses threads)."""

LONGEST_FOLDER = 60
"""The path of a socket has at most 107 characters; `multiprocessing` appends about thirty to the temporary folder."""


PR_SET_PDEATHSIG = 1
"""Option of `prctl` (linux/prctl.h) that sets the signal a process receives when its parent ends."""


def start(work: Callable[..., None], *arguments: Any, threads: int | None) -> Any:
    """Runs `work(*arguments)` in a child process, on `threads` threads (None: as many as torch takes); returns the process.

    The child ends with this process. A keyboard interrupt does not reach it: this process receives it, and ends the child. The
    child does not import the user's script as `__main__`. On Linux it is forked from a server process that has only loaded the
    libraries. On other systems, or if the path of temporary files is too long for a socket, a new interpreter is started.
    """
    short = len(os.fsencode(tempfile.gettempdir())) <= LONGEST_FOLDER
    context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" and short else "spawn")
    context.set_forkserver_preload(list(LIBRARIES))
    environment = dict(os.environ)  # the fork server may have been started with an older environment
    process = context.Process(target=_child_main, args=(environment, threads, work, arguments), daemon=True)
    _without_interrupts(process.start)
    return process


class Orphaned(SystemExit):
    """The parent process ended, so this process ends too; its work did not fail."""


def say(pipe: Connection, *message: Any) -> None:
    """Sends `message` to the parent; raises `Orphaned` if the parent ended."""
    try:
        pipe.send(message)
    except (BrokenPipeError, ConnectionResetError):
        raise Orphaned(1) from None


def end_with(parent: int) -> None:
    """Makes this process end, by force, as soon as its parent process `parent` ends.

    On Linux the kernel does this, also during a long call into compiled code, and when `parent` was killed. On other systems a
    thread checks every half second.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # the parent ended before it could be watched
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def end(processes: Sequence[Any], seconds: float = 5.0) -> None:
    """Ends processes that `start` returned, all at once; kills those that did not end within `seconds`."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0.0))
        if process.is_alive():
            process.kill()


def end_all() -> None:
    """Kills every process that this one started through `multiprocessing`. Called shortly before this process ends."""
    server = getattr(forkserver, "_forkserver", None)  # while it loads libraries, it would not notice the end of this process
    for number in [*(child.pid for child in multiprocessing.active_children()), getattr(server, "_forkserver_pid", None)]:
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def how_it_ended(status: int) -> str:
    """What an exit status of a child process that ended too early says.

    >>> how_it_ended(0), how_it_ended(-11)
    ('ended with status 0', 'died (signal 11, SIGSEGV)')
    """
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name if -status in signal.valid_signals() else "not known"
    return f"died (signal {-status}, {name})"


def _child_main(
    environment: Mapping[str, str], threads: int | None, work: Callable[..., None], arguments: Sequence[Any]
) -> None:
    """Main function of the child process. Interrupts are blocked since its start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    gc.freeze()  # what the libraries made stays, so the garbage collector need not look through it again and again
    work(*arguments)


def _die_with_parent() -> None:
    """Ends this process when its parent has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Removes the file name of `__main__` inside the block, so that a child process does not run the user's script again."""
    main = sys.modules["__main__"]
    kept = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    for name in kept:
        delattr(main, name)
    main.__spec__ = None
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)


def _without_interrupts(call: Callable[[], None]) -> None:
    """Runs `call` in a thread with blocked keyboard interrupts; processes that it starts inherit this. The calling thread still
    receives interrupts while it waits, since the start may load libraries for seconds."""
    started: Future[None] = Future()

    def do() -> None:
        """Blocks interrupts in this thread, then runs `call`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with without_main():
                call()
            started.set_result(None)
        except BaseException as error:
            started.set_exception(error)

    resource_tracker.ensure_running()  # if `call` started it, it would unblock interrupts
    try:
        threading.Thread(target=do, daemon=True).start()
        started.result()
    except KeyboardInterrupt:
        futures.wait([started], timeout=0.5)  # a child that was just forked and gets no work would print a traceback
        raise
