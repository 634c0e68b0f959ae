"""Imports code that superbench does not bring, first in a child process: code that ends its process does not end this one.

A model's file may call `os._exit(0)` at its top level, or crash in compiled code: no exception says so, and the command would
end as if all were done.
"""

from __future__ import annotations

import atexit
import multiprocessing
from collections.abc import Callable
from functools import partial

from superbench.system.background import in_child
from superbench.system.progress import Reporter, Silence


def rehearse(work: Callable[..., object], *arguments: str, what: str) -> None:
    """Runs `work(*arguments)`, an import, in a child process; `what` names the code.

    Does nothing in a process that superbench started (a daemonic one): its parent waits for it, and reports its end. Raises the
    error of `work`, or `EndedProcess`.
    """
    if not multiprocessing.current_process().daemon:
        in_child(partial(_import, work, arguments), Silence(), what)


def _import(work: Callable[..., object], arguments: tuple[str, ...], _: Reporter) -> None:
    """Imports, and calls what the import registered for the end of the process: that may set another exit status."""
    atexit._clear()
    work(*arguments)
    atexit._run_exitfuncs()
