"""Submissions that wait: their state can be seen, a kill loses none of them, nobody fills the queue alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from superbench.board import apart, queue
from superbench.board.bundle import pack_bundle
from superbench.board.storage import Board
from superbench.contract import Prediction
from superbench.errors import Conflict, Refusal
from superbench.probing.intervals import interval
from superbench.registry import task
from superbench.results import read_result, write_result


def test_a_submission_is_seen_waiting_and_then_settled(address: str, a_folder: Callable[..., Path]) -> None:
    board = Board(address)
    good = queue.enqueue(board, pack_bundle(a_folder("apc", 30)), "alice")
    bad = queue.enqueue(board, b"no bundle", "bob")
    again = queue.enqueue(board, pack_bundle(a_folder("apc", 30)), "alice")
    assert [one.ticket for one in queue.waiting(board.shelf)] == [good.ticket, bad.ticket, again.ticket]
    later = Board(address)  # another process, after a kill
    for _ in range(3):
        queue.work(later)
    assert queue.work(later) is None
    states = [queue.look(board.shelf, one.ticket) for one in (good, bad, again)]
    assert [(one.state, one.status, one.code) for one in states if one] == [
        ("accepted", 201, ""), ("refused", 400, "not_a_bundle"), ("refused", 409, "replayed"),
    ]  # fmt: skip
    assert [result.upstream.name for result in board.results()] == ["apc"]
    assert [event.what for event in board.shelf.events()] == [
        "received",
        "received",
        "received",
        "accepted",
        "refused",
        "refused",
    ]


def test_a_ticket_that_nobody_has_is_none(address: str) -> None:
    board = Board(address)
    for ticket in ("", "x", "../../etc/passwd", "a" * 100, "\x00", "ä"):
        assert queue.look(board.shelf, ticket) is None


def test_nobody_fills_the_queue_alone(tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    for _ in range(queue.LONGEST):
        queue.enqueue(board, b"x", "mallory")
    with pytest.raises(Conflict, match="wait already"):
        queue.enqueue(board, b"x", "mallory")
    queue.enqueue(board, b"x", "alice")


def test_a_kill_between_examination_and_acceptance_leaves_it_waiting(
    address: str, a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(address)
    ticket = queue.enqueue(board, pack_bundle(a_folder("apc", 30)), "alice")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Board, "accept_within", killed)
        with pytest.raises(KeyboardInterrupt):
            queue.work(board)
    assert [one.ticket for one in queue.waiting(Board(address).shelf)] == [ticket.ticket]
    settled = queue.work(Board(address))
    assert settled is not None
    assert settled.state == "accepted"


def test_a_kill_right_after_the_bundle_was_written_settles_the_ticket_as_accepted(
    tmp_path: Path, a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder has no transactions; a database takes the bundle back with the rest."""
    board = Board(tmp_path / "board")
    queue.enqueue(board, pack_bundle(a_folder("apc", 30)), "alice")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(queue, "_settle", killed)
        with pytest.raises(KeyboardInterrupt):
            queue.work(board)
    assert len(board.results()) == 1
    settled = queue.work(Board(tmp_path / "board"))
    assert settled is not None
    assert (settled.state, len(board.shelf.held())) == ("accepted", 1)


def test_an_examination_apart_finds_the_same(address: str, a_folder: Callable[..., Path]) -> None:
    board, data = Board(address), pack_bundle(a_folder("apc", 30))
    inside, outside = board.examine(data), apart.examine(board, data)
    assert {name: one.to_bytes() for name, one in outside.evidence.items()} == {
        name: one.to_bytes() for name, one in inside.evidence.items()
    }
    assert board.accept(outside).fresh
    (boast := a_folder("boast", 30) / "ks" / "result.json").write_text(boast.read_text().replace("62.5", "99.5"))
    with pytest.raises(Refusal, match=r"99\.5000 was claimed") as caught:
        apart.examine(board, pack_bundle(boast.parents[1]))
    assert caught.value.code == "score"


def test_predictions_that_keep_a_scorer_busy_are_given_up(a_folder: Callable[..., Path], tmp_path: Path) -> None:
    """Slots that are opened thousands of times and never closed: the scorer's regular expression tries every pair."""
    slow = "B-a " * 4_900
    place = a_folder("slow", 30)
    honest = [Prediction(f"{n:03}", "all", (f"s{n}",), "PLAY B-a X E-a", "PLAY B-a X E-a") for n in range(30)]
    slots = task("sf")
    scores = {}
    for metric, score in slots.score(honest, {}).items():
        low, high, _ = interval(honest, score)
        scores[metric] = {
            "value": score.value, "unit": score.unit, "higher_is_better": score.higher_is_better, "ci": [low, high],
            "counts": dict(score.counts),
        }  # fmt: skip
    record = read_result(place / "ks").model_dump(mode="json", by_alias=True)
    record["task"] |= {"name": "sf", "version": slots.card.version}
    record |= {"scores": scores, "primary": "slot_type_f1"}
    record["data"]["items"]["test"] = 30
    hostile = [Prediction(one.id, one.fold, one.group, one.reference, slow) for one in honest]
    write_result(place / "sf", type(read_result(place / "ks")).model_validate(record), hostile)
    with pytest.raises(Refusal, match="more than 1 s of computing") as caught:
        apart.examine(Board(tmp_path / "board"), pack_bundle(place), seconds=1)
    assert (caught.value.status, caught.value.code) == (422, "resources")
