"""The server of a board: who may submit, what is refused with which status, and that no accepted bundle is lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles import members, rezipped, zipped

from superbench.board.board import Board
from superbench.board.bundles.bundle import pack_bundle
from superbench.board.server.client import ServedBoard
from superbench.board.storage import tokens
from superbench.board.storage.base import StoredBundle, now
from superbench.errors import CommandError

pytest.importorskip("fastapi", reason="the extra `server` is not installed")
pytest.importorskip("uvicorn", reason="the extra `server` is not installed")


Running = Any
"""A server in a separate process, and a token for it: see `conftest.py`."""
Serving = Callable[..., contextlib.AbstractContextManager[Running]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, serving: Serving) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("served") / "board", "--hourly", "1000", "--megabytes", "2") as running:
        yield running


def submitted(server: Running, data: bytes) -> dict[str, Any]:
    """Submits a bundle and waits for the decision."""
    status, headers, state = server.call("POST", "/api/submissions", data)
    assert (status, state["state"]) == (202, "queued"), state
    assert headers["Location"] == f"/api/submissions/{state['id']}"
    return server.decided(state["id"])


def test_an_empty_board_shows_the_published_rows(tmp_path: Path, serving: Serving) -> None:
    with serving(tmp_path / "board") as running:
        assert running.names() == []
        _, _, board = running.call("GET", "/api/board", token=None)
        assert any(row["name"] == "HuBERT Base" for row in board["groups"][0]["rows"])


def test_a_submission_waits_is_scored_and_stands_on_the_page(server: Running, a_folder: Callable[..., Path]) -> None:
    state = submitted(server, pack_bundle(a_folder("accepted", 30)))
    assert (state["state"], state["status"], state["upstream"], state["tasks"]) == ("accepted", 200, "accepted", ["ks"])
    assert server.shows("accepted")
    status, headers, page = server.call("GET", "/", token=None)
    assert (status, '"accepted"' in page) == (200, True)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    _, _, (row,) = server.call("GET", "/api/models/accepted", token=None)
    assert row["cells"]["ks.accuracy"]["value"] == pytest.approx(100 * 30 / 48)
    _, _, models = server.call("GET", "/api/models", token=None)
    assert any("accepted" in names for names in models.values())
    assert server.call("GET", "/api/models/nobody", token=None)[0] == 404
    assert server.call("GET", "/healthz", token=None)[2]["status"] == "ok"


def test_what_is_read_again_unchanged_is_not_sent_again(server: Running) -> None:
    _, headers, _ = server.call("GET", "/", token=None)
    again = server.call("GET", "/", token=None, **{"If-None-Match": headers["ETag"]})
    assert (again[0], again[2]) == (304, "")
    packed = server.call("GET", "/api/board", token=None, **{"Accept-Encoding": "gzip"})
    assert packed[1]["Content-Encoding"] == "gzip"
    assert packed[2] == server.call("GET", "/api/board", token=None)[2]


def test_the_description_is_there_to_read_without_the_network(server: Running) -> None:
    status, _, page = server.call("GET", "/docs", token=None)
    assert status == 200
    assert "POST /api/submissions" in page
    assert not re.findall(r'(?:src|href)="https?://', page)
    assert "/api/submissions" in server.call("GET", "/openapi.json", token=None)[2]["paths"]


def test_without_a_valid_token_nothing_is_read_of_the_upload(server: Running, a_folder: Callable[..., Path]) -> None:
    data = pack_bundle(a_folder("stranger", 20))
    for token, word in ((None, "missing"), ("sb_wrong", "unknown"), ("nonsense", "unknown")):
        status, headers, problem = server.call("POST", "/api/submissions", data, token)
        assert (status, problem["code"], headers["WWW-Authenticate"]) == (401, "token", "Bearer")
        assert word in problem["reason"]
    storage = Board(server.board).storage
    bob = tokens.create(storage, "bob")
    tokens.revoke(storage, "bob")
    assert "revoked" in server.call("POST", "/api/submissions", data, bob)[2]["reason"]


BAD: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "nothing": (lambda good: b"", 400),
    "not a zip": (lambda good: b"hello", 400),
    "cut in the middle": (lambda good: good[: len(good) // 2], 400),
    "a path outside": (lambda good: zipped({"../x": b"1", "manifest.json": b"{}"}.items()), 400),
    "an absolute path": (lambda good: zipped({"/etc/x": b"1", "manifest.json": b"{}"}.items()), 400),
    "a bomb": (lambda good: zipped({"ks/result.json": bytes(300_000_000), "manifest.json": b"{}"}.items()), 413),
    "too large": (lambda good: os.urandom(2_500_000), 413),
    "a score that is no number": (lambda good: _changed(good, b'"value": 62.5', b'"value": NaN'), 400),
    "a score beyond numbers": (lambda good: _changed(good, b'"value": 62.5', b'"value": 1e999'), 400),
}


def _changed(good: bytes, old: bytes, new: bytes) -> bytes:
    """Returns the bundle with a part of its result replaced, and a matching manifest."""
    record = members(good)["ks/result.json"]
    assert old in record, record[:600]
    return rezipped(good, {"ks/result.json": record.replace(old, new, 1)}, honest=True)


@pytest.mark.parametrize("what", list(BAD))
def test_a_bad_upload_is_refused_with_its_status_and_the_board_stays(
    server: Running, a_folder: Callable[..., Path], what: str
) -> None:
    spoil, expected = BAD[what]
    before = server.call("GET", "/api/board", token=None)[2]
    data = spoil(pack_bundle(a_folder("bad", 30)))
    try:
        status, _, problem = server.call("POST", "/api/submissions", data)
        assert status == expected, problem
        assert set(problem) == {"code", "reason"}
    except urllib.error.URLError:  # refused while it was still sending: the server hung up
        assert expected == 413
    assert server.call("GET", "/api/board", token=None)[2] == before
    assert server.call("GET", "/healthz", token=None)[2]["waiting"] == 0


def test_a_false_score_is_refused_once_it_was_scored_again(server: Running, a_folder: Callable[..., Path]) -> None:
    data = _changed(pack_bundle(a_folder("liar", 30)), b'"value": 62.5', b'"value": 99.5')
    state = submitted(server, data)
    assert (state["state"], state["status"]) == ("refused", 422)
    assert "62.5" in state["reason"]
    assert "liar" not in server.names()
    assert any(event.what == "refused" and "62.5" in event.remark for event in Board(server.board).storage.events())


def test_a_replay_is_a_conflict(server: Running, a_folder: Callable[..., Path]) -> None:
    data = pack_bundle(a_folder("twice", 24))
    assert submitted(server, data)["state"] == "accepted"
    status, _, problem = server.call("POST", "/api/submissions", data)
    assert (status, problem["code"]) == (409, "replayed")


def test_a_name_belongs_to_the_token_that_brought_it(server: Running, a_folder: Callable[..., Path]) -> None:
    assert submitted(server, pack_bundle(a_folder("mine", 24)))["state"] == "accepted"
    carol = tokens.create(Board(server.board).storage, f"carol{time.time_ns()}")
    other = pack_bundle(a_folder("mine", 30, where="other"))
    status, _, state = server.call("POST", "/api/submissions", other, carol)
    assert status == 202
    assert server.call("GET", f"/api/submissions/{state['id']}")[0] == 404  # nobody sees another's
    until = time.monotonic() + 240
    while (state := server.call("GET", f"/api/submissions/{state['id']}", token=carol)[2])["state"] in ("queued", "scoring"):
        assert time.monotonic() < until
        time.sleep(0.2)
    assert (state["state"], state["status"], state["code"]) == ("refused", 409, "name")


def test_a_server_starts_on_a_board_that_holds_what_cannot_be_drawn(
    tmp_path: Path, serving: Serving, a_folder: Callable[..., Path], forged: Callable[..., bytes]
) -> None:
    board = Board(tmp_path / "board")
    board.submit(a_folder("apc", 20))
    ragged = forged(pack_bundle(a_folder("odd", 30)), lambda r: r.update(layer_weights={"a": [1.0], "b": [0.5, 0.5]}))
    with board.storage.writing() as writer:
        writer.add(StoredBundle("ab" * 32, "odd", now()), ragged)
    with serving(tmp_path / "board") as server:
        assert server.names() == ["apc"]
        assert "layer_weights" in server.call("GET", "/", token=None)[2]
        assert submitted(server, pack_bundle(a_folder("next", 24)))["state"] == "accepted"
        assert server.shows("next")
        assert server.names() == ["apc", "next"]


def test_an_admin_takes_a_row_off_the_board_and_nobody_else_can(server: Running, a_folder: Callable[..., Path]) -> None:
    name = "hf/somebody/model:base"
    data = pack_bundle(a_folder(name, 24))
    digest = submitted(server, data)["digest"]
    admin = tokens.create(Board(server.board).storage, f"root{time.time_ns()}", "admin")
    assert server.call("DELETE", f"/api/models/{name}", token=None)[0] == 401
    status, _, problem = server.call("DELETE", f"/api/models/{name}")
    assert (status, problem["code"]) == (403, "role")
    assert server.call("DELETE", "/api/models/nobody", token=admin)[0] == 404
    assert server.shows(name)
    status, _, gone = server.call("DELETE", f"/api/models/{name}?because=trained+on+the+test", token=admin)
    assert (status, [one[:12] for one in gone["bundles"]]) == (200, [digest[:12]])
    assert name not in server.names()
    assert server.call("DELETE", f"/api/models/{name}", token=admin)[0] == 404
    status, _, problem = server.call("POST", "/api/submissions", data)
    assert (status, problem["code"]) == (409, "withdrawn")
    assert Board(server.board).history(name)[0].why.endswith(": trained on the test")


def test_a_model_called_like_a_script_is_text(server: Running, a_folder: Callable[..., Path]) -> None:
    name = "<script>alert(1)</script>"
    assert submitted(server, pack_bundle(a_folder(name, 10)))["state"] == "accepted"
    until = time.monotonic() + 240
    while name not in server.names() and time.monotonic() < until:
        time.sleep(0.2)
    assert "<script>alert" not in server.call("GET", "/", token=None)[2]
    assert server.call("GET", "/api/models/%3Cscript%3Ealert(1)%3C/script%3E", token=None)[2][0]["name"] == name


def test_who_sends_too_often_is_told_when_to_come_again(
    tmp_path: Path, a_folder: Callable[..., Path], serving: Serving
) -> None:
    with serving(tmp_path / "board", "--hourly", "1") as running:
        assert running.call("POST", "/api/submissions", pack_bundle(a_folder("first", 24)))[0] == 202
        status, headers, problem = running.call("POST", "/api/submissions", pack_bundle(a_folder("second", 24)))
        assert (status, problem["code"]) == (429, "rate")
        assert 3000 < int(headers["Retry-After"]) <= 3601


def test_an_upload_that_breaks_off_leaves_nothing(server: Running, a_folder: Callable[..., Path]) -> None:
    data = pack_bundle(a_folder("broken", 24))
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        head = [f"Authorization: Bearer {server.token}", f"Content-Length: {len(data)}", "Host: x", "", ""]
        line.sendall("\r\n".join(["POST /api/submissions HTTP/1.1", *head]).encode() + data[: len(data) // 2])
    time.sleep(0.5)
    until = time.monotonic() + 60
    while (left := list((server.board / ".incoming").glob("*.part"))) and time.monotonic() < until:
        time.sleep(0.2)  # a loaded machine
    assert server.call("GET", "/healthz", token=None)[2]["waiting"] == 0
    assert not left
    assert submitted(server, data)["state"] == "accepted"


def test_nothing_received_is_lost_when_the_server_is_killed(
    tmp_path: Path, a_folder: Callable[..., Path], serving: Serving
) -> None:
    """Several senders at once; the server is killed twice with a full queue; every submission answered with 202 is accepted."""
    board = tmp_path / "board"
    bundles = [pack_bundle(a_folder(f"model{number}", 20 + number)) for number in range(4)]
    ids: list[str] = []

    def send(running: Running, data: bytes) -> None:
        with contextlib.suppress(OSError, json.JSONDecodeError):
            status, _, state = running.call("POST", "/api/submissions", data)
            if status == 202:
                ids.append(state["id"])

    for pause in (0.4, 1.5):
        with serving(board, "--waiting", "10") as running:
            senders = [threading.Thread(target=send, args=(running, data)) for data in bundles]
            for sender in senders:
                sender.start()
            time.sleep(pause)
            os.kill(running.process.pid, signal.SIGKILL)
            for sender in senders:
                sender.join()
    with serving(board, "--waiting", "10") as running:
        for data in bundles:
            send(running, data)
        states = [running.decided(identity) for identity in ids]
        assert {state["state"] for state in states} == {"accepted"}, states
        held = [one.upstream for one in Board(board).storage.bundles()]
        assert sorted(held) == sorted(state["upstream"] for state in states)  # each once
        assert len(held) == 4


def test_no_request_that_the_description_allows_or_forbids_breaks_the_server(server: Running) -> None:
    pytest.importorskip("schemathesis", reason="the extra `test` is not installed")
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{server.address}/openapi.json", "--max-examples", "15",
        "--seed", "1", "--checks", "not_a_server_error", "--header", f"Authorization: Bearer {server.token}", "--no-color",
    ]  # fmt: skip
    zips = 'import schemathesis\n\nschemathesis.serializer.alias("application/zip", "application/octet-stream")\n'
    (server.board.parent / "bodies.py").write_text(zips)  # any bytes are tried as the body of an upload
    hooks = {**os.environ, "SCHEMATHESIS_HOOKS": "bodies"}
    found = subprocess.run(command, capture_output=True, text=True, cwd=server.board.parent, env=hooks)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-2000:]
    assert server.call("GET", "/healthz", token=None)[0] == 200


def test_the_command_submits_to_a_served_board_and_says_what_it_answered(
    server: Running, a_folder: Callable[..., Path], tmp_path: Path
) -> None:
    place = a_folder("by-command", 33, where="command")
    heard: list[str] = []
    (state,) = ServedBoard(server.address, server.token).submit(place, report=heard.append)
    assert (state["state"], heard[0][:20]) == ("accepted", "by-command: sending ")
    (again,) = ServedBoard(server.address, server.token).submit(place)
    assert (again["state"], "409 replayed" in again["reason"]) == ("present", True)
    with pytest.raises(CommandError, match="superbench token"):
        ServedBoard(server.address, None)


def test_the_server_runs_on_the_event_loop_of_python_whatever_else_is_installed() -> None:
    from fastapi import FastAPI

    from superbench.board.server.web_server import service

    assert service(FastAPI()).config.loop == "asyncio"  # that of uvloop starts no process in a group of its own
