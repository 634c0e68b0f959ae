"""Evidence of crashes in compiled code: a process that gets SIGSEGV, SIGFPE, SIGABRT, SIGBUS or SIGILL leaves a file.

A process that is killed from outside leaves an empty file, which does not count.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def crash_file(folder: Path) -> Iterator[None]:
    """Lets a crash of this process during the block leave a file in `folder`. Does nothing if crashes are reported elsewhere,
    or if the file cannot be written."""
    path = folder / str(os.getpid())
    with contextlib.ExitStack() as stack:
        if not faulthandler.is_enabled():
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(path.open("w"))
                stack.callback(path.unlink, missing_ok=True)
                faulthandler.enable(file)
                stack.callback(faulthandler.disable)
        yield


def has_crashed(folder: Path) -> bool:
    """Returns whether a process left a report of a crash in `folder` since the last call."""
    crashed = False
    for path in folder.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            has_report = path.stat().st_size > 0
            crashed |= has_report
            if has_report or not Path(f"/proc/{path.name}").exists():
                path.unlink(missing_ok=True)
    return crashed
