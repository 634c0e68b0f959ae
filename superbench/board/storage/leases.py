"""Which server of a board decides a submission: a lease in its record, so that two servers score no bundle twice.

A server takes the lease inside a write of the board, renews it while it scores, and gives it up with the decision. A lease
that is not renewed ends by itself; one whose server ran on this machine and is gone ends at once.
"""

from __future__ import annotations

import calendar
import os
import socket
import time
from dataclasses import replace

from superbench.board.storage import incoming
from superbench.board.storage.base import Storage, now
from superbench.board.storage.incoming import Submission

SECONDS = 45.0
RENEWED = 10.0
"""Seconds between two renewals."""


def name() -> str:
    """This server's: machine and process."""
    return f"{socket.gethostname()} {os.getpid()}"


def is_free(one: Submission, server: str) -> bool:
    """May `server` decide it?"""
    return one.pending and (one.server in ("", server) or _seconds(one.leased) + SECONDS < time.time() or _is_gone(one.server))


def claim(storage: Storage, one: Submission, server: str) -> Submission | None:
    """The submission as it stands, with a lease of `server`; None if it is decided, or another server's."""
    with storage.writing() as writer:
        there = incoming.read(writer, one.id)
        if there is None or not is_free(there, server):
            return None
        leased = replace(there, server=server, leased=now())
        incoming.write(writer, leased)
        return leased


def _is_gone(server: str) -> bool:
    machine, _, number = server.rpartition(" ")
    if machine != socket.gethostname() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _seconds(moment: str) -> float:
    """A time as `storage.now` writes it; 0 for anything else."""
    try:
        return float(calendar.timegm(time.strptime(moment.partition(".")[0], "%Y%m%dT%H%M%S")))
    except ValueError:
        return 0.0
