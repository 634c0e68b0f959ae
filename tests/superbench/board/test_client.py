"""Submitting to a board's server: which hosts receive the token."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from superbench.board.server import client
from superbench.errors import BadResult

DONE = {"id": "1", "state": "accepted", "upstream": "apc", "tasks": ["ks"], "status": 200, "code": "", "reason": ""}


@dataclass
class Host:
    """A host that answers with `status` and redirects to `target`; without a target, it answers like a board.

    With `queues`, it takes bundles as a board does, and redirects the question what became of them.
    """

    address: str = ""
    status: int = 0
    target: str = ""
    queues: bool = False
    heard: list[tuple[str, str, str]] = field(default_factory=list)


@contextlib.contextmanager
def host(status: int = 0, target: str = "", *, queues: bool = False) -> Iterator[Host]:
    found = Host(status=status, target=target, queues=queues)

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.heard.append((self.command, self.path, self.headers.get("Authorization", "")))
            waits = found.queues and self.command == "POST"
            sends_on = found.target and self.path != "/moved" and not waits
            self.send_response(found.status if sends_on else 200)
            body = json.dumps(DONE | {"state": "queued"} if waits else DONE).encode()
            if sends_on:
                self.send_header("Location", found.target)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 -- the base class calls them so

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("other", ["127.0.0.1", "localhost"])
def test_the_token_is_not_sent_to_another_host(
    status: int, other: str, a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAUSE", 0.0)
    with host() as elsewhere:
        there = elsewhere.address.replace("127.0.0.1", other)
        for queues, asked in ((False, ["POST"]), (True, ["POST", "GET"])):
            with host(status, f"{there}/api/submissions", queues=queues) as board:
                with pytest.raises(BadResult, match="redirects to"):
                    list(client.ServedBoard(board.address, "sb_secret").submit(a_folder("apc", 20)))
                assert [(command, token) for command, _, token in board.heard] == [(one, "Bearer sb_secret") for one in asked]
        assert elsewhere.heard == []


def test_a_redirection_on_the_same_host_is_followed_and_never_loses_a_bundle(
    a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAUSE", 0.0)
    with host(302, "/moved", queues=True) as board:
        (state,) = client.ServedBoard(board.address, "sb_secret").submit(a_folder("apc", 20))
        assert state["state"] == "accepted"
        assert board.heard[-1] == ("GET", "/moved", "Bearer sb_secret")
    with host(302, "/moved") as board, pytest.raises(BadResult, match="redirects to"):
        list(client.ServedBoard(board.address, "sb_secret").submit(a_folder("apc", 20)))
