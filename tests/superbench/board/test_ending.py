"""A server that is stopped or killed ends soon, with all its processes, and loses no submission."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process_tree import alive, below

from superbench.board import acceptance
from superbench.board.board import Board
from superbench.board.bundles.bundle import pack_bundle
from superbench.board.server import sandbox
from superbench.board.storage import incoming
from superbench.errors import Refusal, SuperbenchError, Unavailable

pytest.importorskip("fastapi", reason="the extra `server` is not installed")
pytest.importorskip("uvicorn", reason="the extra `server` is not installed")

START = """
import re, sys
from pathlib import Path
from superbench.board.bundles import verify
def slow(*arguments):
    Path(sys.argv[2]).touch()
    re.match("(a|a)*c", "a" * 60)
verify.examine_entry = slow
from superbench.board.server.worker import main
main()
"""
"""A worker whose scorer is busy for hours, within one call of compiled code that keeps Python's lock."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children of a process are looked for in /proc")


def soon(condition: Callable[[], object], seconds: float) -> bool:
    """Returns whether the condition becomes true within this time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


@pytest.fixture
def busy_worker(tmp_path: Path, a_folder: Callable[..., Path]) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that scores a bundle for hours in its child process."""
    import json

    (bundle := tmp_path / "one.zip").write_bytes(pack_bundle(a_folder("busy", 30)))
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(os.getpid()), str(tmp_path / "busy")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0,
    )  # fmt: skip
    assert process.stdin is not None
    operation = {"operation": "score", "path": str(bundle), "by": "alice", "token": "0" * 64}
    process.stdin.write(f"{tmp_path / 'board'}\n{json.dumps(operation)}\n".encode())
    process.stdin.flush()
    try:
        assert soon((tmp_path / "busy").is_file, 120)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.slow
def test_a_scorer_ends_with_its_worker(busy_worker: subprocess.Popen[bytes], number: int) -> None:
    scorers = below(busy_worker.pid)
    assert scorers
    assert alive(scorers) == scorers
    busy_worker.send_signal(number)
    busy_worker.wait(5)
    assert soon(lambda: not alive(scorers), 2)


def test_a_worker_ends_with_its_server_before_it_has_loaded_the_libraries() -> None:
    code = "import sys, superbench.board.server.worker; print({'numpy', 'scipy', 'superbench.board.board'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_scores_ends_within_five_seconds_and_its_queue_is_whole(
    tmp_path: Path, a_folder: Callable[..., Path], serving: Callable, number: int
) -> None:
    board = tmp_path / "board"
    with serving(board) as running:
        ids = [running.call("POST", "/api/submissions", pack_bundle(a_folder(f"model{n}", 20 + n)))[2]["id"] for n in range(3)]
        host, port = running.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as slow:  # an upload that never ends
            slow.sendall(
                f"POST /api/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.token}\r\n"
                "Content-Length: 1000\r\n\r\nhello".encode()
            )
            processes = below(running.process.pid)
            assert processes
            began = time.monotonic()
            os.kill(running.process.pid, number)
            running.process.join(10)
            assert time.monotonic() - began < 5
            assert soon(lambda: not alive(processes), 1)
    kept = {one.id: one for one in incoming.all_of(Board(board).storage)}
    assert set(ids) <= set(kept)
    assert {one.tries for one in kept.values()} == {0}
    with serving(board) as running:
        assert {running.decided(one)["state"] for one in ids} == {"accepted"}


@pytest.mark.slow
def test_a_board_that_is_away_refuses_nobody(
    address: str, a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the storage while a bundle is scored does not refuse the bundle."""
    board, data = Board(address), pack_bundle(a_folder("honest", 30))
    board.submit(a_folder("first", 20))

    def away(*_: object) -> None:
        raise Unavailable("The database is away")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for trouble in (away, full):
        monkeypatch.setattr(acceptance, "references_for", trouble)
        with pytest.raises(SuperbenchError if trouble is away else OSError) as caught:
            board.examine(data)
        assert not isinstance(caught.value, Refusal)
        with pytest.raises(Unavailable):
            sandbox.examine(board, data)


@pytest.mark.slow
def test_a_database_that_is_away_is_said_as_such(postgresql: str) -> None:
    pytest.importorskip("psycopg", reason="the extra `server` is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unavailable, match="Is it running"):
        Board(f"postgresql://board@127.0.0.1:{port}/none").storage.exists()
