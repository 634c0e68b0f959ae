"""A process forked from one that has the libraries loaded: it becomes `superbench ARGUMENTS`, as the console script does.

`conftest.py` runs this file, and hands over in `asked` the arguments, folder, environment, and where to print to.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def become(asked: dict[str, Any]) -> None:
    """A process group, an ear for the keyboard, standard output and error, environment and folder of its own; then the entry
    point."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked where the process was forked from one of the engine's
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(asked["said"] / name, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(asked["environment"])
    if encoding := os.environ.get("PYTHONIOENCODING"):  # Python looks at it when it starts
        sys.stdout.reconfigure(encoding=encoding)
        sys.stderr.reconfigure(encoding=encoding, errors="backslashreplace")
    os.chdir(asked["folder"])
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["superbench", *asked["arguments"]]
    from superbench.__main__ import main

    main()


if "asked" in globals():
    become(globals()["asked"])
