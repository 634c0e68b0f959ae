"""An interrupt from the keyboard ends a command within GRACE seconds, whatever it is doing at that moment.

Python raises `KeyboardInterrupt` in the main thread, between two of its own instructions. That is enough nearly always, but a
library may catch it with a bare `except:`, and a long call into compiled code or a thread pool that ends may hold it up. So a
thread hears of the signal as well, and ends the process when the exception has not. What is on the disk is whole at any moment.
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
"""The exit status of a command that an interrupt ended, as shells have it."""
GRACE = 1.0
"""Seconds that an orderly end may take."""
ADVICE = "\nsuperbench: stopped. Run the same command again; it goes on from here.\n"
SHOW_CURSOR = "\x1b[?25h"
"""Progress bars hide a terminal's cursor."""


class Interrupts:
    """Hears interrupts for the main thread of this process, from `listen` to the end of the process."""

    def __init__(self) -> None:
        self.heard = self.told = False

    def listen(self) -> None:
        """Start. Where interrupts are ignored, as in a background process of a script, they stay ignored."""
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, self._raise)
        threading.Thread(target=self._watch, args=(reading,), daemon=True).start()

    def end(self) -> NoReturn:
        """End this process, now that the exception has come so far; the interpreter would take a second more to end."""
        self._tell()
        _end_processes()
        atexit._run_exitfuncs()
        os._exit(STATUS)

    def _tell(self) -> None:
        """Say once that the command was stopped, and how to go on."""
        if not self.told:
            self.told = True
            with contextlib.suppress(OSError):  # standard error may be closed
                os.write(2, ADVICE.encode())

    def _raise(self, number: int, frame: FrameType | None) -> None:
        """The first interrupt raises; one more must not disturb the end that is under way."""
        if not self.heard:
            self.heard = True
            raise KeyboardInterrupt

    def _watch(self, reading: int) -> None:
        """Python writes the number of each signal to the pipe as it arrives. Who takes the signal over, as a web server does,
        also ends the process."""
        while signal.SIGINT not in os.read(reading, 64) or signal.getsignal(signal.SIGINT) != self._raise:
            pass
        time.sleep(GRACE)
        self._tell()
        if sys.stdout.isatty():
            os.write(1, SHOW_CURSOR.encode())
        _end_processes()
        os._exit(STATUS)


def _end_processes() -> None:
    threading.excepthook = lambda _: None  # threads that waited for these processes have nothing to tell any more
    if "multiprocessing" in sys.modules:  # else there are none, and its import would take longer than `superbench list`
        from superbench.system.processes import end_all

        end_all()
