"""A real run in context on boards: a folder, a database, a server score it again, and refuse what was tampered with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from superbench import run
from superbench.board.board import Board
from superbench.board.bundles.bundle import pack_bundle
from superbench.errors import BadResult
from superbench.results import Result, read_predictions, read_result, write_result
from superbench.system.locks import locked

NAME = "ks/in-context"


@pytest.fixture(scope="session")
def results(shared: Path, miniature: Callable[[str], Path], warm_store: Path) -> Path:
    """The folder of `speech_gpt` with random weights: two draws without an example. Nobody writes into it."""
    root = shared / "in-context"
    with locked(shared / "in-context.lock", wait=True):
        options: Any = {"data": miniature("ks"), "out": root, "store": warm_store, "workers": 1, "device": "cpu"}
        run(["gpt=speech_gpt:nano,untrained"], ["ks"], protocol="in-context", shots=(0,), draws=2, **options)
    return root / "gpt"


def changed(results: Path, place: Path, change: Callable[[dict[str, Any], list[Any]], object]) -> Path:
    """The results after a change to record and predictions, sealed again, as a forger would."""
    folder = results / NAME
    record = json.loads((folder / "result.json").read_text())
    predictions = list(read_predictions(folder / "predictions.jsonl.gz"))
    change(record, predictions)
    (place / NAME).mkdir(parents=True)
    record["environment"].pop("seal", None)
    write_result(place / NAME, Result.model_validate(record), predictions)
    return place


def flip(record: dict[str, Any], predictions: list[Any]) -> None:
    """One wrong answer becomes a right one; the scores stay."""
    place = next(i for i, one in enumerate(predictions) if one.prediction != one.reference)
    predictions[place] = replace(predictions[place], prediction=predictions[place].reference)


def test_it_is_scored_again_and_has_a_section(address: str, results: Path) -> None:
    board = Board(address)
    (receipt,) = board.submit(results)
    assert receipt.tasks == (NAME,)
    (section,) = board.contents()["sections"]
    ((row, cells),) = section["shots"][0]["rows"].items()
    claimed = (read_result(results / NAME).shots or ())[0]
    assert (section["rows"][row]["name"], section["shots"][0]["k"]) == ("gpt", 0)
    assert cells["ks.accuracy"]["value"] == pytest.approx(claimed.score)
    assert {"no sound", "other sound", "majority class"} <= cells["ks.accuracy"]["controls"].keys()


TAMPERED = [
    (lambda record, _: record["shots"][0].update(score=record["shots"][0]["score"] + 5), "accuracy at K = 0 computed from"),
    (flip, "the result claims"),
    (lambda record, _: record["shots"][0]["controls"].pop("no sound"), "it lacks the control `no sound` at K = 0"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), TAMPERED, ids=["score", "prediction", "control"])
def test_what_was_tampered_with_is_refused(change: Any, sentence: str, address: str, results: Path, tmp_path: Path) -> None:
    with pytest.raises(BadResult, match=sentence):
        Board(address).submit(changed(results, tmp_path / "gpt", change))


def test_a_server_decides_the_same(tmp_path: Path, serving: Any, results: Path) -> None:
    sent = [pack_bundle(changed(results, tmp_path / str(n) / "gpt", change)) for n, (change, _) in enumerate(TAMPERED)]
    with serving(tmp_path / "board") as running:
        for data, sentence in [*zip(sent, [sentence for _, sentence in TAMPERED], strict=True), (pack_bundle(results), "")]:
            _, _, waiting = running.call("POST", "/api/submissions", data)
            state = running.decided(waiting["id"])
            assert (state["state"], sentence in (state["reason"] or "")) == ("refused" if sentence else "accepted", True)
        assert running.shows("gpt")
