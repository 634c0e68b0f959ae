"""Examinations in a process of their own: the same verdict, and an end to those that would take for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from superbench.board import apart
from superbench.board.bundle import pack_bundle
from superbench.board.storage import Board
from superbench.contract import Prediction
from superbench.errors import Refusal, StoreError
from superbench.probing.intervals import interval
from superbench.registry import task
from superbench.results import read_result, write_result


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


def test_a_failure_of_the_process_is_told(address: str, a_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(board: Board, data: bytes) -> None:
        raise MemoryError if data == spent else ArithmeticError("no such number")

    monkeypatch.setattr(Board, "examine", broken)
    board, spent = Board(address), pack_bundle(a_folder("greedy", 30))
    with pytest.raises(StoreError, match="ArithmeticError: no such number"):
        apart.examine(board, pack_bundle(a_folder("apc", 30)))
    with pytest.raises(Refusal, match="GB of memory"):
        apart.examine(board, spent)
