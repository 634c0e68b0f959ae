"""Limits of each token, and the order of scoring."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from superbench.board.board import Board
from superbench.board.server.fairness import Limits, SubmissionLimiter, TooOften, next_in_turn
from superbench.board.storage.incoming import Submission, received


def of(by: str) -> Submission:
    """Returns an undecided submission."""
    return received(by, 10, "model", ("ks",), "d")


def test_a_second_bundle_waits_for_everybodys_first() -> None:
    waiting = {one.id: one for one in [*(of("mallory") for _ in range(4)), of("alice"), of("alice"), of("bob")]}
    order = []
    while chosen := next_in_turn(waiting.values()):
        order.append(chosen.by)
        waiting[chosen.id] = chosen.end("refused", 422)
    assert order == ["mallory", "alice", "bob", "mallory", "alice", "mallory", "mallory"]
    assert next_in_turn([]) is None


def test_who_was_served_last_waits_for_a_newcomer() -> None:
    done, first, second = of("alice").end("accepted", 200), of("alice"), of("bob")
    assert next_in_turn([done, first, second]) is second
    assert next_in_turn([done, first, replace(second, state="scoring")]).id == second.id


def test_every_upload_counts_towards_the_hour_whatever_becomes_of_it() -> None:
    limiter = SubmissionLimiter(Limits(hourly=3))
    for _ in range(3):
        with contextlib.suppress(ValueError), limiter.uploading("mallory", 0):
            raise ValueError("junk")
    with pytest.raises(TooOften, match="refused ones count") as caught, limiter.uploading("mallory", 0):
        pass
    assert (caught.value.status, caught.value.code) == (429, "rate")
    assert 3_590 < caught.value.after <= 3_601
    with limiter.uploading("alice", 0):
        pass


def test_what_an_earlier_server_received_counts() -> None:
    limiter = SubmissionLimiter(Limits(hourly=2))
    limiter.remember([of("alice"), replace(of("alice"), received="20200101T000000.000000Z"), of("alice"), of("bob")])
    with pytest.raises(TooOften), limiter.uploading("alice", 0):
        pass
    with limiter.uploading("bob", 0):
        pass


def test_uploads_in_flight_are_counted() -> None:
    limiter = SubmissionLimiter(Limits(waiting=5, uploads=2, all_uploads=3))
    with contextlib.ExitStack() as flying:
        flying.enter_context(limiter.uploading("alice", 0))
        flying.enter_context(limiter.uploading("alice", 0))
        with pytest.raises(TooOften) as caught, limiter.uploading("alice", 0):
            pass
        assert caught.value.code == "uploads"
        with pytest.raises(TooOften) as caught, limiter.uploading("alice", 3):
            pass
        assert caught.value.code == "waiting"
        flying.enter_context(limiter.uploading("bob", 0))
        with pytest.raises(TooOften) as caught, limiter.uploading("carol", 0):
            pass
        assert caught.value.code == "busy"
    with limiter.uploading("carol", 0):
        pass


def test_junk_is_429_after_an_hours_worth(tmp_path: Path, serving: Callable) -> None:
    pytest.importorskip("uvicorn", reason="the extra `server` is not installed")
    with serving(tmp_path / "board", "--hourly", "3") as running:
        statuses = [running.call("POST", "/api/submissions", b"junk")[0] for _ in range(6)]
        assert statuses == [400, 400, 400, 429, 429, 429]
        log = [one.remark for one in Board(running.board).storage.events()]
        assert sum("This is not a bundle" in remark for remark in log) == 3
        assert not [remark for remark in log if "within the hour" in remark]  # who is told 429 fills no log


def test_idle_connections_are_closed_and_more_than_there_is_room_for_are_turned_away(tmp_path: Path, serving: Callable) -> None:
    pytest.importorskip("uvicorn", reason="the extra `server` is not installed")
    with serving(tmp_path / "board") as running, contextlib.ExitStack() as opened:
        host, port = running.address.removeprefix("http://").split(":")
        idle = [opened.enter_context(socket.create_connection((host, int(port)), timeout=30)) for _ in range(100)]
        for number, line in enumerate(idle):
            if number % 2:
                line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        began = time.monotonic()
        time.sleep(5)
        for line in idle[1::2]:
            with contextlib.suppress(OSError):
                line.sendall(b"a")  # a little now and then keeps nothing open
        for line in idle:
            with contextlib.suppress(ConnectionResetError):
                assert line.recv(1) == b""
        assert 8 < time.monotonic() - began < 20
        assert running.call("GET", "/healthz", token=None)[0] == 200


def test_an_upload_that_pauses_is_given_up(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the extra `server` is not installed")
    import asyncio

    from superbench.board.server import app

    class Slow:
        headers = {"content-length": "10"}  # noqa: RUF012 -- as a request has it

        async def stream(self):
            yield b"hello"
            await asyncio.sleep(60)

    with pytest.raises(app.TooSlow, match="5 bytes were received") as caught:
        asyncio.run(app.receive(Slow(), tmp_path / "upload", Limits(chunk_seconds=0.1)))  # type: ignore[arg-type]
    assert caught.value.status == 408
    assert Limits().upload_seconds(20_000_000) == 430
