"""What a served board answers: nothing is accepted before it is shown, and every refusal says what a reader of it can do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from superbench.board.board import Board
from superbench.board.bundles.bundle import open_bundle, pack_bundle
from superbench.board.storage import incoming, tokens
from superbench.board.storage.base import StoredBundle, now
from superbench.errors import CommandError

pytest.importorskip("fastapi", reason="the extra `server` is not installed")
pytest.importorskip("uvicorn", reason="the extra `server` is not installed")

from superbench.board.server import drawn_page, fairness, scratch, submissions, web_server


def test_what_is_accepted_is_shown_at_the_next_request(
    tmp_path: Path, serving: Callable[..., Any], a_folder: Callable[..., Path]
) -> None:
    with serving(tmp_path / "board") as server:
        for number in range(3):
            _, _, state = server.call("POST", "/api/submissions", pack_bundle(a_folder(f"model{number}", 20 + number)))
            while (state := server.call("GET", f"/api/submissions/{state['id']}")[2])["state"] in ("queued", "scoring"):
                time.sleep(0.01)
            models = server.call("GET", "/api/models", token=None)[2]
            assert state["state"] == "accepted"
            assert any(f"model{number}" in names for names in models.values())
            assert f'"model{number}"' in server.call("GET", "/", token=None)[2]


@pytest.mark.slow
def test_a_server_shows_what_another_server_accepted_before_it_says_so(
    tmp_path: Path, a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is drawn in the background here."""
    monkeypatch.setattr(submissions, "LOOKING_SECONDS", 3600.0)
    board = Board(tmp_path / "board")
    data = pack_bundle(a_folder("apc", 20))
    bundle = open_bundle(data)
    new = incoming.received("alice", len(data), "apc", ("ks",), bundle.digest)

    async def ask() -> tuple[str, str]:
        queue = submissions.SubmissionQueue(board, fairness.Limits())
        await queue.open()
        try:
            board.accept(board.examine(data), "alice")
            incoming.keep(board.storage, new, data)
            incoming.update(board.storage, replace(new).end("accepted", 200))
            found = await queue.find(new.id)
            assert found is not None
            return found.state, json.dumps(queue.shown.contents)
        finally:
            await queue.close()

    state, shown = asyncio.run(ask())
    assert (state, '"apc"' in shown) == ("accepted", True)


def test_a_page_is_drawn_only_if_the_board_has_changed(tmp_path: Path, a_folder: Callable[..., Path]) -> None:
    board, asked = Board(tmp_path / "board"), list[str]()

    class Worker:
        async def ask(self, operation: str, seconds: float, folder: str) -> dict[str, Any]:
            asked.append(operation)
            Path(folder, "page.html").write_text("page")
            Path(folder, "board.json").write_text('{"groups": []}')
            return {}

    async def draw() -> None:
        shown = drawn_page.DrawnPage(board.storage, tmp_path)
        for change in (lambda: None, lambda: None, lambda: board.submit(a_folder("apc", 20)), lambda: board.withdraw("apc")):
            change()
            await shown.update(Worker())  # type: ignore[arg-type]

    asyncio.run(draw())
    assert asked == ["render"] * 3


def test_a_withdrawal_that_is_refused_says_what_can_be_done_over_the_network(
    tmp_path: Path, serving: Callable[..., Any], a_folder: Callable[..., Path], forged: Callable[..., bytes]
) -> None:
    board = Board(tmp_path / "board")
    board.submit(a_folder("apc", 20))
    digest = board.history("apc")[0].digest
    named = forged(pack_bundle(a_folder("any", 40)), lambda record: record["upstream"].update(name=digest[:12]))
    with board.storage.writing() as writer:
        writer.add(StoredBundle(open_bundle(named).digest, digest[:12], now(), "bob"), named)
    admin = tokens.create(board.storage, "root", "admin")
    with serving(tmp_path / "board") as server:

        def remove(row: str, because: str = "") -> tuple[int, Any]:
            status, _, body = server.call("DELETE", f"/api/models/{row}?because={quote(because)}", token=admin)
            return status, body

        status, problem = remove("nobody")
        assert (status, problem["reason"]) == (404, "No model on this board has the name 'nobody'. GET /api/models lists all.")
        for why in ("two\nlines", "\u202e", "x" * 501):
            status, problem = remove("apc", why)
            assert (status, problem["code"]) == (400, "because")
        status, problem = remove(digest[:12])
        assert (status, problem["code"], "fits 2 bundles" in problem["reason"]) == (409, "ambiguous", True)
        assert "apc" in server.names()
        assert remove(digest[:9], "asked for") == (200, {"bundles": [digest]})
        status, problem = remove("apc")
        assert status == 404
        assert "withdrawn already" in problem["reason"]
        assert "by root: asked for" in problem["reason"]
        assert "superbench board" not in problem["reason"]
        content = server.call("GET", "/openapi.json", token=None)[2]["paths"]["/api/submissions"]["post"]["requestBody"]
        assert list(content["content"]) == ["application/zip"]


# ---------------------------------------------------------------- listening, and what a killed server leaves


def test_a_port_in_use_is_found_before_the_address_is_printed(tmp_path: Path, call: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=rf"Port {port} of 127.0.0.1 is in use.* --port 0"):
            web_server.listening("127.0.0.1", port)
        done = call("serve", "--board", str(tmp_path / "board"), "--port", str(port), "--create")
        assert (done.returncode, "http://" in done.stdout) == (2, False)
        assert "Errno" not in done.stderr
        assert "--port" in done.stderr
    with pytest.raises(CommandError, match="--host"):
        web_server.listening("203.0.113.1", 0)
    with pytest.raises(CommandError, match="--host"):
        web_server.listening("host.invalid", 0)
    (free,) = web_server.listening("127.0.0.1", 0)
    assert free.getsockname()[1] > 0
    free.close()


def test_the_folders_of_servers_that_were_killed_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    begun, tell = os.pipe()
    child = os.fork()
    if not child:  # a server that is killed
        try:
            scratch.ScratchFolder()
            os.write(tell, b".")
            signal.pause()
        finally:
            os._exit(1)
    os.read(begun, 1)
    (other,) = tmp_path.iterdir()
    (tmp_path / f"{scratch.PREFIX}strange").mkdir()  # no server made it
    own = scratch.ScratchFolder()
    assert other.is_dir()  # its server runs
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    third = scratch.ScratchFolder()
    assert sorted(tmp_path.iterdir()) == sorted([own.path, third.path, tmp_path / f"{scratch.PREFIX}strange"])
    for folder in (own, third):
        folder.remove()
    assert [path.name for path in tmp_path.iterdir()] == [f"{scratch.PREFIX}strange"]
