"""The HTTP server of a board: limits on connections and waiting times, and a prompt end after a signal.

Without these limits, uvicorn waits for ever for the headers of a request, for a client that reads slowly, and for open requests
when it is stopped.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
import os
import resource
import socket
import threading
from types import FrameType
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from superbench.board.server.headers import HEADERS
from superbench.errors import CommandError

HEAD_SECONDS = 10.0
"""Time for the headers of a request to arrive, from the opening of the connection or the end of the request before."""
READING_SECONDS = 120.0
"""Time for a client to read what was sent to it."""
ENDING_SECONDS = 2
"""Time for open requests after the server was told to stop."""
LONGEST_END = 4.0
"""Seconds after which the server ends in any case, even while it waits for a database or for a page to be drawn."""

MOST_CONNECTIONS = 1_000
BACKLOG = 32
"""Connections that the system accepts before the server can close any of them."""
OWN_DESCRIPTORS = 48
"""File descriptors of the server itself: pipes to its workers, a database, uploads."""


class BoundedConnection(H11Protocol):
    """A connection that is closed if its client is too slow, or if there are too many connections."""

    most = MOST_CONNECTIONS
    _waiting: asyncio.TimerHandle | None = None
    _sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Closes the connection if there are too many; else waits for the headers of a request."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels all timers."""
        for timer in (self._waiting, self._sending):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Waits for the headers of the next request."""
        self._wait()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is not a valid request: uvicorn's response with the security headers."""
        head = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        head += [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        for event in (h11.Response(status_code=400, headers=head), h11.Data(data=msg.encode("ascii")), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def pause_writing(self) -> None:
        """Starts a timer: the client has not read all that was sent."""
        super().pause_writing()
        self._sending = self._sending or self.loop.call_later(READING_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancels the timer: the client has read it."""
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
        """Starts to stop; after `LONGEST_END` open work is abandoned. Files on the disk are complete at any time."""
        if not self.should_exit:
            timer = threading.Timer(LONGEST_END, _leave, [sig])
            timer.daemon = True
            timer.start()
        super().handle_exit(sig, frame)


def _leave(number: int) -> None:
    """Ends with the exit status of a signal; the workers end with this process."""
    atexit._run_exitfuncs()
    os._exit(128 + number)


def listening(host: str, port: int) -> list[socket.socket]:
    """Returns sockets that listen on all addresses of `host`; port 0 takes a free port. Raises `CommandError`."""
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((entry[0], entry[4][0]) for entry in found):
            chosen = sockets[0].getsockname()[1] if sockets else port
            sockets.append(socket.create_server((str(address), chosen), family=family, backlog=BACKLOG))
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise CommandError(_not_listening(host, port, error)) from error
    return sockets


def _not_listening(host: str, port: int, error: OSError) -> str:
    """Returns the message for an address that cannot be listened on, with the option to change."""
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use by another program. Choose another port, or any free one: --port 0"
    if error.errno == errno.EACCES:
        return f"Port {port} needs the rights of the administrator. Choose one above 1023: --port 8000"
    reason = error.strerror or "unknown error"
    return f"This machine cannot listen on the address {host} ({reason}). Choose another one: --host 127.0.0.1"


def service(application: FastAPI) -> Service:
    """Returns a server of `application`, ready to run on sockets, with as many connections as there are file descriptors."""
    settings: dict[str, Any] = {
        "http": type("BoundedConnection", (BoundedConnection,), {"most": _most()}), "ws": "none", "backlog": BACKLOG,
        "timeout_graceful_shutdown": ENDING_SECONDS, "log_level": "error", "access_log": False, "server_header": False,
        "loop": "asyncio",  # uvloop, if another package brings it, cannot start a worker in a process group of its own
    }  # fmt: skip
    return Service(uvicorn.Config(application, **settings))


def _most() -> int:
    """Raises the limit of open files as far as possible and needed; returns the number of connections it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MOST_CONNECTIONS + BACKLOG + OWN_DESCRIPTORS
    if hard == resource.RLIM_INFINITY or hard >= needed:
        hard = needed
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return max(8, min(MOST_CONNECTIONS, max(soft, hard) - BACKLOG - OWN_DESCRIPTORS))
