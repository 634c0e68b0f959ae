"""Processes beside this one: they end with it, and an interrupt from the keyboard does not reach them."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

LIBRARIES = ("torch._dynamo", "torch.utils.flop_counter", "torchaudio.compliance.kaldi", "scipy.stats", "pydantic")
"""What every job needs, and takes seconds to load; none of them touches a GPU or starts a thread that a fork would miss."""

LONGEST_FOLDER = 60
"""A socket's name has at most 107 characters, of which `multiprocessing` needs some thirty within the temporary folder."""


PR_SET_PDEATHSIG = 1
"""Of `prctl` (linux/prctl.h): the signal that a process gets when its parent ends."""


def start(work: Callable[..., None], *arguments: Any, threads: int) -> Any:
    """`work(*arguments)` in a process of its own, on so many threads; returns the process.

    It ends with this process, and an interrupt from the keyboard does not reach it: this process hears it, and ends the other.
    It does not run the user's script again to find `__main__`, of which it needs nothing. On Linux it is forked from one that
    has loaded the libraries once and does nothing else; elsewhere, and where the path of temporary files is too long for a
    socket's name, it starts from nothing.
    """
    short = len(os.fsencode(tempfile.gettempdir())) <= LONGEST_FOLDER
    context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" and short else "spawn")
    context.set_forkserver_preload(list(LIBRARIES))
    environment = dict(os.environ)  # the process that is forked may be older than some of it
    process = context.Process(target=_live, args=(environment, threads, work, arguments), daemon=True)
    _unheard(process.start)
    return process


class Orphaned(SystemExit):
    """The process that this one works for is gone, so that this one ends: no failure of its work."""


def say(pipe: Connection, *message: Any) -> None:
    """Send `message` to the parent; raises `Orphaned` where it is gone."""
    try:
        pipe.send(message)
    except (BrokenPipeError, ConnectionResetError):
        raise Orphaned(1) from None


def end_with(parent: int) -> None:
    """From now on this process ends, by force, when the process `parent` that started it does, whatever either is doing.

    On Linux the kernel sees to it, also within a long call into compiled code, and when `parent` was killed itself; elsewhere a
    thread looks every half second.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before it could be watched
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def end(processes: Sequence[Any], seconds: float = 5.0) -> None:
    """End processes that `start` gave: all at once, and by force those that have not ended within `seconds`."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + seconds
    for process in processes:
        process.join(max(until - time.monotonic(), 0.0))
        if process.is_alive():
            process.kill()


def end_all() -> None:
    """End by force every process that this one started through `multiprocessing`: its own end is near."""
    server = getattr(forkserver, "_forkserver", None)  # it may be loading libraries, and would notice only afterwards
    for number in [*(child.pid for child in multiprocessing.active_children()), getattr(server, "_forkserver_pid", None)]:
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def _live(environment: Mapping[str, str], threads: int, work: Callable[..., None], arguments: Sequence[Any]) -> None:
    """The other process' life. Interrupts have been blocked since it was started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    work(*arguments)


def _die_with_parent() -> None:
    """End this process when the one that started it is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """Inside, `__main__` does not say which file it is."""
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


def _unheard(call: Callable[[], None]) -> None:
    """Do `call` in a thread that no interrupt from the keyboard reaches, as none reaches what it starts. This thread hears
    interrupts meanwhile: what it waits for may load libraries for seconds."""
    failures: list[BaseException] = []

    def do() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _no_main():
                call()
        except BaseException as error:
            failures.append(error)

    resource_tracker.ensure_running()  # which would unblock them, if it were started on the way
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join()
    for failure in failures:
        raise failure
