"""The web server in front of a board: how many connections it holds, how long it waits for each, and that it ends when told to.

uvicorn waits for ever for the head of a request, for whoever reads an answer slowly, and for open requests when it is to end.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import resource
import threading
from types import FrameType
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from superbench.board.server.headers import HEADERS

HEAD_SECONDS = 10.0
"""Within which the head of a request must have come, from the moment when a connection is there for it."""
READING_SECONDS = 120.0
"""Within which a client must have taken what was sent to it."""
ENDING_SECONDS = 2
"""That open requests have, once the server is to end."""
LONGEST_END = 4.0
"""Seconds after which it ends whatever it waits for: a database that is away, a board that is being drawn."""

MOST_CONNECTIONS = 1_000
BACKLOG = 32
"""Connections that are taken at once, before any of them can be turned away."""
OWN_DESCRIPTORS = 48
"""Files that the server itself has open: pipes to its judges, a database, uploads."""


class BoundedConnection(H11Protocol):
    """A connection that is closed when its client keeps it waiting, or when there are too many."""

    most = MOST_CONNECTIONS
    _waiting: asyncio.TimerHandle | None = None
    _sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Turn it away, or wait for a head."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        for timer in (self._waiting, self._sending):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        self._wait()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """To what is no request: uvicorn's answer with the headers of all others."""
        head = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        head += [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        for event in (h11.Response(status_code=400, headers=head), h11.Data(data=msg.encode("ascii")), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def pause_writing(self) -> None:
        """The client has not taken all that was sent: give it time."""
        super().pause_writing()
        self._sending = self._sending or self.loop.call_later(READING_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken it."""
        super().resume_writing()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _wait(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = self.loop.call_later(HEAD_SECONDS, self._waited)

    def _waited(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


class Service(uvicorn.Server):
    """Serves until SIGINT or SIGTERM, and ends within `LONGEST_END` seconds of it."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; what has not ended in time is left behind, and what is on the disk is whole at any moment."""
        if not self.should_exit:
            timer = threading.Timer(LONGEST_END, _leave, [sig])
            timer.daemon = True
            timer.start()
        super().handle_exit(sig, frame)


def _leave(number: int) -> None:
    """End with the status of a signal; the judges end with this process."""
    atexit._run_exitfuncs()
    os._exit(128 + number)


def service(application: FastAPI, host: str, port: int) -> Service:
    """A server of `application`, ready to run. It takes as many connections as the system lets it have files open."""
    settings: dict[str, Any] = {
        "http": type("BoundedConnection", (BoundedConnection,), {"most": _most()}), "ws": "none", "backlog": BACKLOG,
        "timeout_graceful_shutdown": ENDING_SECONDS, "log_level": "error", "access_log": False, "server_header": False,
    }  # fmt: skip
    return Service(uvicorn.Config(application, host=host, port=port, **settings))


def _most() -> int:
    """Connections for which there are descriptors, when as many as the system allows have been asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + BACKLOG + OWN_DESCRIPTORS
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        hard = wanted
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return max(8, min(MOST_CONNECTIONS, max(soft, hard) - BACKLOG - OWN_DESCRIPTORS))
