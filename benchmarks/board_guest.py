"""A guest of a served board, for `board_attacks.py`: a server in a process of its own, and requests to it."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


class Guest:
    """Requests to a server with a token."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self._open: list[socket.socket] = []

    def call(self, method: str, path: str, data: bytes | None = None) -> tuple[int, str]:
        """Status and body; status 0 where there is no answer within a minute."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, data, {"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, type(error).__name__
        finally:
            connection.close()

    def head(self, method: str, path: str) -> tuple[int, dict[str, str]]:
        """Status and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path)
        answer = connection.getresponse()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}

    def sent(self, bundle: bytes) -> str:
        """What became of a bundle, and after how many seconds."""
        began = time.monotonic()
        status, body = self.call("POST", "/api/submissions", bundle)
        if status != 202:
            return f"refused, {status}: {_reason(body)}"
        state, identity = "queued", json.loads(body)["id"]
        while state in ("queued", "scoring") and time.monotonic() - began < 120:
            time.sleep(0.2)
            _, body = self.call("GET", f"/api/submissions/{identity}")
            state = json.loads(body)["state"]
        after = f" after {time.monotonic() - began:.0f} s" if time.monotonic() - began > 5 else ""
        return f"{state}{after}" if state == "accepted" else f"{state}{after}: {_reason(body)}"

    def page_after(self, said: str) -> str:
        """What readers see once the page was drawn anew."""
        time.sleep(3 if said.startswith("accepted") else 0)
        status, page = self.call("GET", "/")
        state = self.call("GET", "/healthz")[0]
        return f"page {status}, {len(page) // 1000} kB, health {state}"

    @contextlib.contextmanager
    def sockets(self, count: int) -> Iterator[None]:
        """Connections that say nothing."""
        for _ in range(count):
            with contextlib.suppress(OSError):
                self._open.append(socket.create_connection(("127.0.0.1", self.port), timeout=1))
        try:
            yield
        finally:
            for one in self._open:
                one.close()

    def open_sockets(self) -> int:
        """How many of them the server has not closed."""
        count = 0
        for one in self._open:
            one.setblocking(False)
            try:
                count += bool(one.recv(1))
            except BlockingIOError:
                count += 1
            except OSError:
                pass
        return count


def _reason(body: str) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(body).get("reason", body))[:230]
    return body[:120]


@contextlib.contextmanager
def served(command: list[str], board: Path) -> Iterator[Guest]:
    """A server of a board, and a guest who has a token."""
    creation = [*command, "token", str(board), "--name", "guest"]
    made = subprocess.run(creation, capture_output=True, text=True, check=True, cwd=board.parent).stdout
    token = max(re.findall(r"[A-Za-z0-9_-]{16,}", made), key=len)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    serving = [*command, "serve", "--board", str(board), "--port", str(port)]
    server = subprocess.Popen(serving, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=board.parent)
    guest = Guest(port, token)
    try:
        until = time.monotonic() + 120
        while server.poll() is None and guest.call("GET", "/healthz")[0] != 200 and time.monotonic() < until:
            time.sleep(0.2)
        yield guest
    finally:
        server.kill()
        server.wait()
