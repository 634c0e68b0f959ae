"""Processes beside this one: they end with it, and an interrupt from the keyboard says nothing to them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from typing import Any

LIBRARIES = ("torch._dynamo", "torch.utils.flop_counter", "torchaudio.compliance.kaldi", "scipy.stats", "pydantic")
"""What every job needs, and takes seconds to load; none of them touches a GPU or starts a thread that a fork would miss."""

LONGEST_FOLDER = 60
"""A socket's name has at most 107 characters, of which `multiprocessing` needs some thirty within the temporary folder."""


def start(work: Callable[..., None], *arguments: Any, threads: int) -> Any:
    """`work(*arguments)` in a process of its own, on so many threads; returns the process.

    It ends with this process, and an interrupt from the keyboard says nothing to it: this process hears it, and ends the other.
    It does not run the user's script again to find `__main__`, of which it needs nothing. On Linux it is forked from one that
    has loaded the libraries once and does nothing else; elsewhere, and where the path of temporary files is too long for a
    socket's name, it starts from nothing.
    """
    short = len(os.fsencode(tempfile.gettempdir())) <= LONGEST_FOLDER
    context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" and short else "spawn")
    context.set_forkserver_preload(list(LIBRARIES))
    environment = dict(os.environ)  # the process that is forked may be older than some of it
    process = context.Process(target=_live, args=(environment, threads, work, arguments), daemon=True)
    with _deaf(), _no_main():
        process.start()
    return process


def _live(environment: Mapping[str, str], threads: int, work: Callable[..., None], arguments: Sequence[Any]) -> None:
    """The other process' life."""
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


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """What is started inside takes over that interrupts are ignored; only a main thread may decide so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
