"""Leases: the record of a submission names the server that decides it, so that two servers never score the same bundle.

A server takes the lease inside a write to the board, renews it while it scores, and releases it with the decision. A lease
that is not renewed expires. The lease of a server that ran on this machine and has ended expires at once.
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
    """Returns the name of this server: machine and process id."""
    return f"{socket.gethostname()} {os.getpid()}"


def is_free(submission: Submission, server: str) -> bool:
    """Returns whether `server` may decide the submission."""
    if not submission.pending:
        return False
    owned = submission.server in ("", server)
    return owned or _seconds(submission.leased) + SECONDS < time.time() or _has_ended(submission.server)


def claim(storage: Storage, submission: Submission, server: str) -> Submission | None:
    """Takes or renews the lease of `server`; returns the submission, or None if it is decided or leased to another server."""
    with storage.writing() as writer:
        stored = incoming.read(writer, submission.id)
        if stored is None or not is_free(stored, server):
            return None
        leased = replace(stored, server=server, leased=now())
        incoming.write(writer, leased)
        return leased


def _has_ended(server: str) -> bool:
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
    """Parses a time that `base.now` wrote; returns 0 for any other text."""
    try:
        return float(calendar.timegm(time.strptime(moment.partition(".")[0], "%Y%m%dT%H%M%S")))
    except ValueError:
        return 0.0
