"""Examinations in a sandbox process: the same decision, and a limit for those that would take too long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from superbench.board.board import Board
from superbench.board.bundles.bundle import open_bundle, pack_bundle
from superbench.board.server import sandbox, scoring_cost
from superbench.board.server.scoring_cost import Work, work_of
from superbench.contract import Prediction
from superbench.errors import Refusal, StoreError
from superbench.plugins import task
from superbench.results import read_result, write_result
from superbench.results.intervals import interval


@pytest.mark.slow
def test_an_examination_apart_finds_the_same(
    address: str, a_folder: Callable[..., Path], rewritten: Callable[..., Path]
) -> None:
    board, data = Board(address), pack_bundle(a_folder("apc", 30))
    inside, outside = board.examine(data), sandbox.examine(board, data)
    assert {name: one.to_bytes() for name, one in outside.evidence.items()} == {
        name: one.to_bytes() for name, one in inside.evidence.items()
    }
    assert board.accept(outside).fresh
    boast = rewritten(a_folder("boast", 30), lambda record: record["scores"]["accuracy"].update(value=99.5))
    with pytest.raises(Refusal, match=r"claims 99\.5000") as caught:
        sandbox.examine(board, pack_bundle(boast))
    assert caught.value.code == "score"


@pytest.mark.slow
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
        sandbox.examine(Board(tmp_path / "board"), pack_bundle(place), seconds=1)
    assert (caught.value.status, caught.value.code) == (422, "resources")


@pytest.mark.slow
def test_a_failure_of_the_process_is_told(address: str, a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(board: Board, data: bytes) -> None:
        raise MemoryError if data == spent else ArithmeticError("no such number")

    monkeypatch.setattr(Board, "examine", broken)
    board, spent = Board(address), pack_bundle(a_folder("greedy", 30))
    with pytest.raises(StoreError, match="ArithmeticError: no such number"):
        sandbox.examine(board, pack_bundle(a_folder("apc", 30)))
    with pytest.raises(Refusal, match="GB of memory"):
        sandbox.examine(board, spent)


@pytest.mark.slow
def test_a_bundle_that_takes_too_much_to_open_is_given_up(
    a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an archive makes its reader do: the child process is limited, this process continues."""

    def large(data: bytes) -> None:
        bytearray(2 * sandbox.OPENING_BYTES)

    def long(data: bytes) -> None:
        while data:
            pass

    honest = pack_bundle(a_folder("honest", 30))
    for reader in (large, long):
        monkeypatch.setattr(sandbox, "open_bundle", reader)
        with pytest.raises(Refusal, match="opening it took more than") as caught:
            sandbox.opened(honest, seconds=1)
        assert (caught.value.status, caught.value.code) == (422, "resources")
    monkeypatch.undo()
    assert sandbox.opened(honest)["tasks"] == ["ks"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["groups of one", "groups", "characters", "area"])
def test_more_work_than_any_run_needs_is_refused_before_it_is_scored(
    what: str, a_folder: Callable[..., Path], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = [np.random.default_rng(number).bytes(10_000).hex() for number in range(140)]
    if what == "characters":
        monkeypatch.setattr(scoring_cost, "CHARACTERS", 500_000)  # or the test would write 100 MB
    said = [Prediction(str(n), "all", (f"s{n}",), "yes", "no") for n in range(96)]
    much = {
        "groups of one": [replace(said[0], group=tuple(f"g{n}" for n in range(300_000))), *said[1:]],
        "groups": [replace(said[0], id=f"{n}", group=tuple(f"g{n}-{m}" for m in range(16))) for n in range(13_000)],
        "characters": [replace(one, prediction=text) for one, text in zip(said, long[:30], strict=False)],
        "area": [replace(one, prediction=long[n : n + 2]) for n, one in enumerate(said)],
    }[what]
    data = pack_bundle(a_folder("much", 30, predictions=much))
    with pytest.raises(Refusal) as caught:
        sandbox.examine(Board(address), data)
    assert (caught.value.status, caught.value.code) == (422, "work")


def test_what_a_bundle_may_take_grows_with_what_is_in_it(a_folder: Callable[..., Path]) -> None:
    small = work_of(open_bundle(pack_bundle(a_folder("small", 48))))
    assert (small.items, small.groups, small.characters) == (96, 48, 2 * 48 * (3 + 2))
    assert small.area == 48 * (6**2 + 4**2)
    assert 30 < small.seconds < 31
    assert Work(2_600, 40, 1_600_000, 10**9).seconds < 60  # PR at official size
