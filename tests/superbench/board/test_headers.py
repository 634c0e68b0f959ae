"""Headers of every response of a server, and boards that several servers share."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from superbench.board.board import Board
from superbench.board.bundles.bundle import open_bundle, pack_bundle
from superbench.board.storage import incoming, tokens
from superbench.errors import Unavailable

sqlalchemy = pytest.importorskip("sqlalchemy", reason="the extra `server` is not installed")
pytest.importorskip("fastapi", reason="the extra `server` is not installed")


def test_every_answer_tells_browsers_to_trust_nothing_and_shows_no_paths(tmp_path: Path, serving: Callable) -> None:
    with serving(tmp_path / "board") as running:
        asked = [
            ("GET", "/"), ("GET", "/api/board"), ("GET", "/api/models"), ("GET", "/api/models/nobody"), ("GET", "/healthz"),
            ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/nowhere"), ("GET", "/../../etc/passwd"), ("PUT", "/"),
            ("POST", "/api/submissions"), ("GET", "/api/submissions"), ("GET", "/api/submissions/none"),
        ]  # fmt: skip
        for method, path in asked:
            for token in (None, ""):
                status, headers, body = running.call(method, path, b"junk" if method == "POST" else None, token)
                where = f"{method} {path} {status}"
                assert headers["X-Content-Type-Options"] == "nosniff", where
                assert "default-src 'none'" in headers["Content-Security-Policy"], where
                assert headers["Content-Security-Policy"].count("default-src") == 1, where
                assert status < 500, where
                assert str(tmp_path) not in str(body), where
        for path in ("/", "/api/board", "/healthz", "/docs", "/nowhere"):
            got, head = running.call("GET", path, token=None), running.call("HEAD", path, token=None)
            assert (head[0], head[1]["Content-Length"]) == (got[0], got[1]["Content-Length"]), path
        host, port = running.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            said = b"".join(iter(lambda: line.recv(65536), b""))
        assert said.count(b"HTTP/1.1 200") == 2
        assert b"<html" not in said
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(b"no request at all\r\n\r\n")
            said = b"".join(iter(lambda: line.recv(65536), b""))
        assert said.startswith(b"HTTP/1.1 400")
        assert b"nosniff" in said


def test_a_board_that_cannot_be_used_is_503_without_its_place(tmp_path: Path, serving: Callable) -> None:
    board = tmp_path / "board"
    with serving(board) as running:
        (board / "tokens").rename(tmp_path / "away")
        (board / "tokens").write_text("no folder")
        status, headers, problem = running.call("GET", "/api/submissions")
        assert (status, problem["code"]) == (503, "unavailable")
        assert str(tmp_path) not in str(problem)
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_two_servers_of_one_board_show_the_same(tmp_path: Path, a_folder: Callable[..., Path], serving: Callable) -> None:
    board = tmp_path / "board"
    with serving(board) as first, serving(board) as second:
        status, _, state = first.call("POST", "/api/submissions", pack_bundle(a_folder("apc", 30)))
        assert status == 202
        assert second.call("GET", f"/api/submissions/{state['id']}")[2]["id"] == state["id"]
        assert second.decided(state["id"])["state"] == "accepted"
        assert [one["state"] for one in second.call("GET", "/api/submissions")[2]] == ["accepted"]
        assert second.shows("apc")
        stranger = tokens.create(Board(board).storage, "mallory")
        assert second.call("GET", f"/api/submissions/{state['id']}", token=stranger)[0] == 404
        Board(board).withdraw("apc")
        for server in (first, second):
            until = time.monotonic() + 60
            while server.names() and time.monotonic() < until:
                time.sleep(0.2)
            assert server.names() == []


def test_what_two_servers_decide_at_once_is_accepted_once(
    tmp_path: Path, a_folder: Callable[..., Path], serving: Callable
) -> None:
    """The second server reads the queue of the first, which still runs, and scores the same bundles."""
    board = tmp_path / "board"
    with serving(board) as first:
        os.kill(first.process.pid, signal.SIGSTOP)
        try:
            data = [pack_bundle(a_folder(f"model{n}", 20 + n)) for n in range(2)]
            ids = []
            for one in data:
                bundle = open_bundle(one)
                new = incoming.received("alice", len(one), bundle.upstream, ("ks",), bundle.digest)
                incoming.keep(Board(board).storage, new, one)
                ids.append(new.id)
            with serving(board) as second:
                Board(board).accept(Board(board).examine(data[1]), "alice")  # as another server would
                assert {second.decided(one)["state"] for one in ids} == {"accepted"}
        finally:
            os.kill(first.process.pid, signal.SIGCONT)
    assert sorted(one.upstream for one in Board(board).storage.bundles()) == ["model0", "model1"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def test_a_database_says_of_which_schema_it_is(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, a_folder: Callable[..., Path]
) -> None:
    address = f"sqlite:///{tmp_path}/board.db" if kind == "sqlite" else request.getfixturevalue("database")
    board = Board(address)
    board.submit(a_folder("apc", 20))
    engine = sqlalchemy.create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
    table = sqlalchemy.Table("superbench_schema", sqlalchemy.MetaData(), autoload_with=engine)
    with engine.connect() as connection, connection.begin():
        assert connection.execute(sqlalchemy.select(table.c.version)).scalars().all() == [1]
        connection.execute(table.update(), {"version": 2})
    for ask in (board.contents, board.storage.events, lambda: board.submit(a_folder("mfcc", 12)), board.history):
        with pytest.raises(Unavailable, match=r"schema 2; .* reads schema 1. Update superbench"):
            ask()
    with engine.connect() as connection, connection.begin():
        table.drop(connection)  # a board from before versions were written
    assert Board(address).contents()["groups"][0]["rows"][0]["name"] == "apc"
    tokens.create(board.storage, "alice")
    with engine.connect() as connection, connection.begin():
        assert connection.execute(sqlalchemy.select(table.c.version)).scalars().all() == [1]
    engine.dispose()
