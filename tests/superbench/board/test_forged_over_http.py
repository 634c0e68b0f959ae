"""Forged bundles that are sent to a running server: refused with the reason, or shown as what they are."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from superbench.board.board import Board
from superbench.board.bundles.bundle import pack_bundle
from superbench.results import Result, read_predictions, write_result

pytest.importorskip("fastapi", reason="the extra `server` is not installed")
pytest.importorskip("uvicorn", reason="the extra `server` is not installed")

Change = Callable[[dict[str, Any]], object]
Running = Any
Serving = Callable[..., contextlib.AbstractContextManager[Running]]


def more_seeds(record: dict[str, Any]) -> None:
    record["sweep"] = [row | {"seed": seed} for seed in range(1, 4) for row in record["sweep"]]


def other_steps(record: dict[str, Any]) -> None:
    record["sweep"] = [row | {"steps": 10**8} for row in record["sweep"]]


REFUSED: dict[str, tuple[Change, str, str]] = {
    "a passport that its predictions contradict": (
        lambda r: r["data"].update(passport={"counts": {"test": 3081}, "lists": {"test": "d"}}),
        "passport",
        "its passport counts 3081 of test, its predictions 96",
    ),
    "seeds that nobody lists": (more_seeds, "learning_rate", "no deviation lists them"),
    "more updates than the protocol has": (other_steps, "learning_rate", "trained for more than"),
    "an invented interval method": (
        lambda r: r["scores"]["accuracy"].update(ci_method="certainty"),
        "score",
        "the result claims 'certainty'",
    ),
    "a narrower interval": (lambda r: r["scores"]["accuracy"].update(ci=[62.4, 62.6]), "score", "the interval of accuracy"),
    "a better score": (lambda r: r["scores"]["accuracy"].update(value=99.0), "score", "the result claims 99.0000"),
    "another version of the task": (lambda r: r["task"].update(version=99), "version", "this board scores version"),
    "ragged layer weights": (lambda r: r.update(layer_weights={"a": [1.0], "b": [0.5, 0.5]}), "schema", "layer_weights"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, serving: Serving) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("forged") / "board", "--hourly", "1000") as running:
        yield running


def answer(server: Running, data: bytes) -> dict[str, Any]:
    """The refusal on arrival, or the decision."""
    status, _, body = server.call("POST", "/api/submissions", data)
    return dict(server.decided(body["id"])) if status == 202 else {"state": "refused", **body}


@pytest.mark.parametrize("what", REFUSED)
def test_a_forged_claim_is_refused_by_a_server_with_its_reason(
    server: Running, a_folder: Callable[..., Path], forged: Callable[..., bytes], what: str
) -> None:
    change, code, reason = REFUSED[what]
    state = answer(server, forged(pack_bundle(a_folder("guest", 30)), change))
    assert (state["state"], state["code"]) == ("refused", code)
    assert reason in state["reason"]
    assert "guest" not in server.names()


def test_corpora_of_a_served_row_are_told_by_its_title_and_not_by_its_claim(
    server: Running, a_folder: Callable[..., Path], forged: Callable[..., bytes]
) -> None:
    def miniature(record: dict[str, Any]) -> None:
        record["data"]["passport"] = {"miniature": "seed 0"}

    for name, change in (("small", miniature), ("elsewhere", lambda record: None)):
        data = forged(pack_bundle(a_folder(name, 30, protocol="superb", fingerprint=name)), change)
        assert answer(server, data)["state"] == "accepted"
        assert server.shows(name)
    _, _, board = server.call("GET", "/api/board", token=None)
    titles = {row["name"]: (group["title"], group["scored"]) for group in board["groups"] for row in group["rows"]}
    assert titles["small"] == ("Official recipes, on miniature corpora", False)
    assert titles["elsewhere"] == ("Official recipes, on other corpora", False)
    assert "labels by the submitter, not verified" in server.call("GET", "/", token=None)[2]


def test_the_same_predictions_under_another_name_are_shown_as_a_copy(server: Running, a_folder: Callable[..., Path]) -> None:
    for name in ("original", "renamed"):
        assert answer(server, pack_bundle(a_folder(name, 17, fingerprint="copied")))["state"] == "accepted"
    assert server.shows("renamed")
    assert "same predictions" in json.dumps(server.call("GET", "/api/board", token=None)[2])


def test_unknown_data_are_refused_by_a_server_with_references(
    tmp_path: Path, serving: Serving, a_folder: Callable[..., Path]
) -> None:
    Board(tmp_path / "board").add_references(a_folder("mine", 3, where="mine"))
    with serving(tmp_path / "board") as server:
        state = answer(server, pack_bundle(a_folder("guest", 48, fingerprint="forged")))
        assert (state["state"], state["code"]) == ("refused", "references")
        state = answer(server, pack_bundle(a_folder("hidden", 30, protocol="superb")))
        assert (state["state"], state["code"]) == ("refused", "passport")
        wrong = a_folder("labels", 30)
        said = read_predictions(wrong / "ks/predictions.jsonl.gz")
        record = json.loads((wrong / "ks/result.json").read_text())
        write_result(
            wrong / "ks",
            Result.model_validate(record),
            [type(one)(one.id, one.fold, one.group, one.prediction, one.prediction) for one in said],
        )
        state = answer(server, pack_bundle(wrong))  # its own labels make every answer right; the board's count
        assert state["state"] == "accepted"
        assert server.shows("labels")
        _, _, (row,) = server.call("GET", "/api/models/labels", token=None)
        assert row["cells"]["ks.accuracy"]["value"] == pytest.approx(100 * 30 / 48)
