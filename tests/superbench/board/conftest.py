"""Boards that are served, and boards in a database."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import doubles
import pytest

from superbench.board.board import Board
from superbench.board.storage import tokens


@pytest.fixture(scope="session")
def forged() -> Callable[..., bytes]:
    """`doubles.forged`: a valid bundle with a change made to its record."""
    return doubles.forged


# ---------------------------------------------------------------- a served board


@dataclass
class Running:
    """A server in a process of its own, and a token for it."""

    address: str
    board: Path
    token: str
    process: Any

    def call(
        self, method: str, path: str, data: bytes | None = None, token: str | None = "", **headers: str
    ) -> tuple[int, Any, Any]:
        """Status, headers, and the body (JSON where it is)."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.token}"
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, _body(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, _body(error)

    def decided(self, identity: str) -> dict[str, Any]:
        """The state of a submission, when it has ended."""
        until = time.monotonic() + 240
        while time.monotonic() < until:
            _, _, state = self.call("GET", f"/api/submissions/{identity}")
            if state["state"] not in ("queued", "scoring"):
                return dict(state)
            time.sleep(0.2)
        raise AssertionError(f"undecided: {state}")

    def names(self) -> list[str]:
        """Models on the page, but for the published ones."""
        _, _, board = self.call("GET", "/api/board", token=None)
        tables = [group for group in board["groups"] if not group["official"]] + board["sections"]
        return sorted({row["name"] for table in tables for row in table["rows"]})

    def shows(self, name: str) -> bool:
        """Does the page show a model, soon? It is drawn after the model was accepted."""
        until = time.monotonic() + 240
        while name not in self.names() and time.monotonic() < until:
            time.sleep(0.2)
        return name in self.names()


def _body(answer: Any) -> Any:
    data = answer.read()
    if answer.headers.get("Content-Encoding") == "gzip":
        data = gzip.decompress(data)
    return json.loads(data) if data and "json" in answer.headers.get("Content-Type", "") else data.decode()


Serving = Callable[..., contextlib.AbstractContextManager[Running]]


@pytest.fixture(scope="session")
def serving(call: Any) -> Serving:
    """`serving(board, *options)` is `superbench serve` on a free port, until the end of the block."""

    @contextlib.contextmanager
    def begun(board: Path, *options: str) -> Iterator[Running]:
        secret = board / "secret"  # a server that was killed has a successor, with the same token
        token = secret.read_text() if secret.is_file() else tokens.create(Board(board).storage, "alice")
        secret.write_text(token)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = call.start("serve", "--board", str(board), "--port", str(port), *options)
        running = Running(f"http://127.0.0.1:{port}", board, token, started.process)
        try:
            _wait(running, started)
            yield running
        finally:
            started.process.kill()
            started.process.join()

    return begun


def _wait(running: Running, started: Any) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until:
        assert running.process.exitcode is None, started.ended().stderr
        with contextlib.suppress(OSError):
            if running.call("GET", "/healthz", token=None)[0] == 200:
                return
        time.sleep(0.2)
    raise AssertionError("the server does not answer")


# ---------------------------------------------------------------- PostgreSQL, from the distribution's package


def _as_nobody() -> list[str]:
    """PostgreSQL does not run as root: the words that run a command as its own user."""
    return [] if os.geteuid() else ["runuser", "-u", "postgres", "--"]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of an empty server that lives as long as the tests do, without password, on a socket of its own."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    if not os.geteuid() and not shutil.which("runuser"):
        pytest.skip("PostgreSQL refuses to run as root, and there is no runuser")
    programs = folders[-1]
    home = Path(
        subprocess.run(
            [*_as_nobody(), "mktemp", "-d", "/tmp/pg-XXXXXX"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True, "cwd": "/"}
    initial = [programs / "initdb", "-D", home / "data", "-U", "board", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run([*_as_nobody(), *map(str, initial)], **quiet)
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={home} -c fsync=off"
    control = [*_as_nobody(), str(programs / "pg_ctl"), "-D", str(home / "data"), "-w"]
    subprocess.run([*control, "-l", str(home / "log"), "-o", options, "start"], **quiet)
    try:
        yield f"postgresql://board@127.0.0.1:{port}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
        subprocess.run([*_as_nobody(), "rm", "-rf", str(home)], check=True)


@pytest.fixture
def database(postgresql: str) -> str:
    """The database of the server, emptied: a new one for each test would copy and remove a thousand files."""
    from sqlalchemy import create_engine

    address = f"{postgresql}/postgres"
    engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return address


@pytest.fixture(
    params=["folder", pytest.param("sqlite", marks=pytest.mark.slow), pytest.param("postgresql", marks=pytest.mark.server)]
)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a board may live: each kind in turn."""
    if request.param == "folder":
        return str(tmp_path / "board")
    if request.param == "sqlite":
        pytest.importorskip("sqlalchemy", reason="the extra `server` is not installed")
        return f"sqlite:///{tmp_path}/board.db"
    pytest.importorskip("psycopg", reason="the extra `server` is not installed")
    return str(request.getfixturevalue("database"))
