"""A keyboard interrupt ends a command within GRACE seconds, in any state of the command.

Python raises `KeyboardInterrupt` in the main thread, between two bytecode instructions. That is nearly always enough. But a
library may catch it with a bare `except:`, and a long call into compiled code, or the shutdown of a thread pool, may delay it.
Therefore a thread receives the signal too, and ends the process if the exception did not. Files are written atomically, so the
files on disk are valid at any moment.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

STATUS = 130
"""The exit status of a command that was ended by an interrupt, as in shells."""
GRACE = 1.0
"""Seconds that a regular exit may take."""
ADVICE = "\nsuperbench: stopped. Run the same command again; it resumes from here.\n"
SHOW_CURSOR = "\x1b[?25h"
"""The escape sequence that shows the cursor, which progress bars hide."""


class Interrupts:
    """Handles interrupts of this process, from `listen` to the end of the process."""

    def __init__(self) -> None:
        self.interrupted = self._advised = False

    def listen(self) -> None:
        """Starts handling. If interrupts are ignored, as in a background process of a script, they stay ignored."""
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, self._raise)
        sys.unraisablehook = self._report_lost
        threading.Thread(target=self._watch, args=(reading,), daemon=True).start()

    def end(self) -> NoReturn:
        """Ends this process after the exception reached the command. A regular exit would take a second longer."""
        self._advise()
        _end_processes()
        atexit._run_exitfuncs()
        os._exit(STATUS)

    def _advise(self) -> None:
        """Prints once that the command was stopped, and how to resume it."""
        if not self._advised:
            self._advised = True
            with contextlib.suppress(OSError):  # standard error may be closed
                os.write(2, ADVICE.encode())

    def _raise(self, number: int, frame: FrameType | None) -> None:
        """Raises at the first interrupt only; a second one must not disturb the exit."""
        if not self.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt

    def _report_lost(self, lost: sys.UnraisableHookArgs) -> None:
        """Reports an exception that no caller receives, such as one in a callback of compiled code. An interrupt is no error:
        `_watch` ends the process."""
        if not (self.interrupted and issubclass(lost.exc_type, KeyboardInterrupt)):
            sys.__unraisablehook__(lost)

    def _watch(self, reading: int) -> None:
        """Waits for an interrupt, then ends the process after GRACE seconds. Python writes the number of each signal to the
        pipe. If other code handles the signal, as a web server does, that code also ends the process."""
        while signal.SIGINT not in os.read(reading, 64) or signal.getsignal(signal.SIGINT) != self._raise:
            pass
        time.sleep(GRACE)
        self._advise()
        if sys.stdout.isatty():
            os.write(1, SHOW_CURSOR.encode())
        _end_processes()
        os._exit(STATUS)


def _end_processes() -> None:
    threading.excepthook = lambda _: None  # errors of threads that waited for these processes are of no use now
    if "multiprocessing" in sys.modules:  # else there are no processes, and the import takes longer than `superbench list`
        from superbench.system.processes import end_all

        end_all()
