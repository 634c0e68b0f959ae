"""Results without training on boards: every draw of every K is scored again, and what was tampered with is refused."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superbench.board.board import Board
from superbench.board.bundles import shot_scores
from superbench.board.bundles.bundle import one_per_upstream, open_bundle, pack_bundle
from superbench.board.bundles.verify import examine, reasons
from superbench.board.page.render import render
from superbench.contract import Prediction, Shots
from superbench.errors import BadResult, Refusal
from superbench.results import Result, read_predictions, shots
from superbench.results.rows import Group

Forged = Callable[..., bytes]
Folder = Callable[..., Path]
NAME = "ks/few-shot"


def why(data: bytes) -> str:
    return "; ".join(reasons(open_bundle(data)))


def shot(record: dict[str, Any], k: Any) -> dict[str, Any]:
    return next(entry for entry in record["shots"] if entry["k"] == k)


@pytest.mark.slow
@pytest.mark.parametrize("address", ["board", "sqlite:///{}/board.db"])
def test_few_shot_results_stand_beside_probes_and_never_in_their_table(
    address: str, tmp_path: Path, a_folder: Folder, a_shot_folder: Folder
) -> None:
    board = Board(address.format(tmp_path) if "{}" in address else tmp_path / address)
    upstream = {"name": "apc", "revision": "r", "params": 10, "hop": 160, "layers": 2, "dim": 4}
    a_folder("apc", 40, upstream=upstream)
    a_shot_folder("apc", 20)
    (receipt,) = board.submit(a_shot_folder("apc", 20, protocol="in-context"))
    assert receipt.tasks == ("ks", "ks/few-shot", "ks/in-context")
    board.submit(a_shot_folder("tera", 12))
    data = board.contents()
    assert data["refused"] == []
    assert [(group["protocol"], [row["name"] for row in group["rows"]]) for group in data["groups"][:1]] == [("mini", ["apc"])]
    assert {section["protocol"]: [row["name"] for row in section["rows"]] for section in data["sections"]} == {
        "few-shot": ["apc", "tera"],
        "in-context": ["apc"],
    }
    assert all(group["protocol"] not in ("few-shot", "in-context") for group in data["groups"])


def test_a_served_board_accepts_few_shot_results_and_refuses_tampered_ones(
    tmp_path: Path, serving: Any, a_shot_folder: Folder, forged: Forged
) -> None:
    data = pack_bundle(a_shot_folder("apc", 20))
    tampered = forged(data, lambda record: shot(record, 5).update(score=99.0), NAME)
    with serving(tmp_path / "board") as running:
        states = []
        for sent in (tampered, data):
            _, _, waiting = running.call("POST", "/api/submissions", sent)
            states.append(running.decided(waiting["id"]))
        assert [state["state"] for state in states] == ["refused", "accepted"]
        assert "accuracy at K = 5 computed from its predictions is 50.8333; the result claims 99.0000" in states[0]["reason"]
        assert running.shows("apc")
        _, _, (row,) = running.call("GET", "/api/models/apc", token=None)
        assert [(at["k"], round(at["cells"]["ks.accuracy"]["value"], 2)) for at in row["shots"]] == [
            (1, 42.5), (5, 50.83), ("all", 60.42)
        ]  # fmt: skip


def unnamed(record: dict[str, Any], *, alone: bool) -> None:
    """Remove the hidden state from a receipt of every K, and, if `alone`, the other receipts."""
    changed = record["sweep"][::2]
    for row in changed:
        row["setting"].pop("layer")
    record["sweep"] = changed if alone else record["sweep"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: shot(r, 1).update(score=60.0), "accuracy at K = 1 computed from its predictions is 42.5000;"),
        (lambda r: shot(r, "all").update(ci=[10.0, 11.0]), "the interval at K = all differs"),
        (lambda r: shot(r, 5).update(ci=None), "the interval at K = 5 differs"),
        (lambda r: shot(r, 5).update(draws=11), "its predictions at K = 5 have 10 draws; its result lists 11"),
        (lambda r: shot(r, 5).update(k=20), "K = 5, K = all; its result lists K = 1, K = 20, K = all"),
        (lambda r: r["shots"].pop(0), "K = 5, K = all; its result lists K = 5, K = all"),
        (lambda r: [entry.update(floor=1.7) for entry in r["shots"]], "its floor is 1.7000; expected 100 over a number"),
        (lambda r: shot(r, 1).update(floor=10.0), "its floor differs between its K (8.3333, 10.0000)"),
        (lambda r: r["scores"]["accuracy"].update(value=42.5), "the result claims 42.5000"),
        (lambda r: r["scores"]["accuracy"].update(ci=[1, 2]), "the interval of accuracy differs"),
        (lambda r: r["sweep"][1].update(dev=99.0), "it was not chosen on dev: the best accuracy of its receipts was 99.0"),
        (lambda r: r["sweep"].pop(1), "its sweep at K = 1 has receipts of 1 of 2 hidden states"),
        (lambda r: r["sweep"][0]["setting"].update(k=5), "two receipts for K = 5"),
        (lambda r: r["chosen"].pop("5"), "it has choices for K = 1, all, and scores for K = 1, 5, all"),
        (lambda r: shot(r, 5)["setting"].update(layer=1), "the setting of its score at K = 5 is not the one that it chose"),
        (lambda r: [row.update(lr=0.1, seed=0) for row in r["sweep"]], "but protocol few-shot trains nothing"),
        (lambda r: unnamed(r, alone=False), "its sweep at K = 1 has a receipt whose setting names no layer"),
        (lambda r: unnamed(r, alone=True), "its sweep at K = 1 has a receipt whose setting names no layer"),
        (lambda r: [entry.update(floor=1e-310) for entry in r["shots"]], "its floor is 0.0000; expected 100 over a number"),
        (lambda r: shot(r, 5)["controls"].update({"a\u202eb": 1}), "at K = 5 contain 'a\\u202eb'; those of the task are none"),
        (lambda r: r.update(schema=1), "schema 1 or 2: protocol few-shot: expected schema 2, with shots only in schema 2"),
    ],
)  # fmt: skip
def test_what_was_tampered_with_is_refused_with_a_sentence(
    change: Callable[[dict[str, Any]], object], sentence: str, a_shot_folder: Folder, forged: Forged
) -> None:
    with pytest.raises(Refusal) as refused:
        examine(open_bundle(forged(pack_bundle(a_shot_folder("apc", 20)), change, NAME)))
    assert sentence in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: shot(r, 5)["controls"].pop("no sound"), "it lacks the control `no sound` at K = 5"),
        (lambda r: shot(r, 5)["controls"].update({"no sound": -1e15}), "its control 'no sound' at K = 5 is -1e+15"),
        (lambda r: shot(r, 1)["controls"].update({"n" * 200: 1.0}), "its controls at K = 1 contain 'nnn"),
        (lambda r: r["chosen"].clear() or r["sweep"].clear(), "it has choices for K = , and scores for K = 1, 5, all"),
        (lambda r: shot(r, 1).update(setting={}) or r["sweep"].clear(), "the setting of its score at K = 1 is not the one"),
    ],
)
def test_what_decides_on_a_place_in_context_cannot_be_left_out(
    change: Callable[[dict[str, Any]], object], sentence: str, a_shot_folder: Folder, forged: Forged
) -> None:
    data = pack_bundle(a_shot_folder("apc", 20, protocol="in-context"))
    assert why(data) == ""
    assert sentence in why(forged(data, change, "ks/in-context"))


@pytest.mark.slow
@pytest.mark.parametrize("floor", [0.0, 1e-310, 0.5, 1e6])
def test_an_error_rate_without_the_sound_is_neither_perfect_nor_huge(floor: float, a_shot_folder: Folder) -> None:
    result = Result.model_validate_json((a_shot_folder("apc", 20) / NAME / "result.json").read_text())
    facts = result.scores["accuracy"].model_copy(update={"higher_is_better": False})
    entries = [entry.model_copy(update={"floor": floor}) for entry in result.shots or ()]
    errors = result.model_copy(update={"primary": "wer", "scores": {"wer": facts}, "shots": entries})
    (problem,) = shot_scores.floors(errors, [], math.isclose)
    assert problem.startswith("its floor is ")


def without(drop: Callable[[Prediction], bool]) -> Callable[[Sequence[Prediction]], list[Prediction]]:
    return lambda predictions: [prediction for prediction in predictions if not drop(prediction)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("forge", "sentence"),
    [
        (without(lambda p: p.k == 5 and p.draw == 9), "its predictions at K = 5 have 9 draws; its result lists 10"),
        (without(lambda p: p.k == 5 and p.draw == 3), "its predictions at K = 5 have 9 draws"),
        (without(lambda p: p.k == 1 and p.draw == 2 and p.id == "yes/1.wav"), "it has 95 predictions in fold all"),
        (lambda all_: [replace(p, k=20) if p.k == 5 else p for p in all_], "its predictions are of K = 1, K = 20, K = all"),
        (lambda all_: [replace(p, k=None) if p.k == 1 else p for p in all_], "some of its predictions have no k"),
        (
            lambda all_: [replace(p, reference="no") if p.draw == 4 and p.id == "yes/9.wav" else p for p in all_],
            "its draws have different test items or references (K = 1, draw 4)",
        ),
        (lambda all_: [replace(p, prediction=p.reference) if p.k == 5 else p for p in all_], "the result claims"),
    ],
)  # fmt: skip
def test_predictions_that_lack_a_draw_or_an_item_are_refused(
    forge: Callable[[Sequence[Prediction]], list[Prediction]], sentence: str, a_shot_folder: Folder
) -> None:
    folder = a_shot_folder("apc", 20)
    predictions = read_predictions(folder / NAME / "predictions.jsonl.gz")
    assert sentence in why(pack_bundle(a_shot_folder("apc", 20, predictions=forge(predictions))))


def test_fewer_draws_must_be_a_deviation(a_shot_folder: Folder) -> None:
    shots = ((1, 3), ("all", 1))
    assert "it has 3 draws at K = 1 in place of 10" in why(pack_bundle(a_shot_folder("apc", 20, shots=shots)))
    told = ["3 draws of the examples in place of 10"]
    assert why(pack_bundle(a_shot_folder("apc", 20, shots=shots, deviations=told))) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "control"),
    [(1, "no sound"), (5, "other sound"), (1, "wrong labels"), ("all", "majority class")],
)  # fmt: skip
def test_a_control_that_is_always_run_is_missed(k: Any, control: str, a_shot_folder: Folder, forged: Forged) -> None:
    data = pack_bundle(a_shot_folder("apc", 20, protocol="in-context"))
    changed = forged(data, lambda record: shot(record, k)["controls"].pop(control), "ks/in-context")
    assert f"it lacks the control `{control}` at K = {k}, which in-context always runs" in why(changed)
    assert "lacks the control" not in why(data)


def test_a_line_needs_both_k_and_draw_of_the_right_type(a_shot_folder: Folder) -> None:
    from superbench.board.bundles.bundle import predictions_of
    from superbench.errors import Malformed

    line = b'{"id": "a", "fold": "all", "group": [], "reference": "yes", "prediction": "no"%s}\n'
    assert predictions_of(line % b', "k": "all", "draw": 0', "f")[0].k == "all"
    for wrong in (
        b', "k": 1',
        b', "draw": 1',
        b', "k": true, "draw": 0',
        b', "k": -1, "draw": 0',
        b', "k": 1, "draw": 1000000',
    ):
        with pytest.raises(Malformed, match="k must be a number of examples or all"):
            predictions_of(line % wrong, "f")


@pytest.mark.slow
def test_the_boards_own_references_score_every_draw(tmp_path: Path, a_shot_folder: Folder) -> None:
    board = Board(tmp_path / "board")
    (own,) = board.add_references(a_shot_folder("keeper", 48, where="mine"))
    assert len(own.labels) == 96
    board.submit(a_shot_folder("apc", 20))
    assert "labels by the submitter" not in board.contents()["sections"][0]["note"]
    folder = a_shot_folder("tera", 20)
    lied = [replace(p, reference=p.prediction) for p in read_predictions(folder / NAME / "predictions.jsonl.gz")]
    board.submit(a_shot_folder("tera", 20, predictions=lied))  # labels in the bundle are ignored
    missing = [replace(p, id=f"x{p.id}") for p in lied]
    with pytest.raises(BadResult, match="its ids are not those of the test"):
        board.submit(a_shot_folder("cpc", 20, predictions=missing))


@pytest.mark.slow
def test_another_floor_is_another_table_and_refuses_nobody(tmp_path: Path, a_shot_folder: Folder, forged: Forged) -> None:
    """The first row on some data does not decide which floor the others may have: it may be the false one."""
    board = Board(tmp_path / "board")
    first = tmp_path / "first.zip"
    change = lambda record: [entry.update(floor=10.0) for entry in record["shots"]]  # noqa: E731
    first.write_bytes(forged(pack_bundle(a_shot_folder("tera", 12, where="false")), change, NAME))
    board.submit(first)
    for name in ("apc", "cpc"):
        board.submit(a_shot_folder(name, 20))
    sections = board.contents()["sections"]
    assert [[row["name"] for row in section["rows"]] for section in sections] == [["apc", "cpc"], ["tera"]]
    assert "KS with the floor 10, there 8.33333" in sections[1]["reason"]


@pytest.mark.slow
def test_long_texts_without_training_count_as_the_size_of_a_row(tmp_path: Path, a_shot_folder: Folder) -> None:
    random = np.random.default_rng(0)
    long = [random.bytes(1900).hex() for _ in range(300)]
    with pytest.raises(BadResult, match=r"apc: its row would take 1\.\d MB of the page; at most 1 MB are drawn"):
        Board(tmp_path / "board").submit(a_shot_folder("apc", 20, deviations=long))


@pytest.mark.slow
def test_a_number_that_the_page_cannot_show_refuses_the_bundle_and_not_the_page(
    tmp_path: Path, a_shot_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(tmp_path / "board")
    board.submit(a_shot_folder("apc", 20))
    floors_at = shots.floors_at

    def not_finite(view: Group, k: Shots) -> dict[str, float]:
        there = "tera" in {row.name for row in view.rows}
        return {name: math.nan if there else floor for name, floor in floors_at(view, k).items()}

    monkeypatch.setattr(shots, "floors_at", not_finite)
    with pytest.raises(BadResult, match="tera: cannot be drawn"):
        board.submit(a_shot_folder("tera", 12))
    assert render(board.contents())


@pytest.mark.slow
@pytest.mark.parametrize("where", ["", "apc", "apc/ks", "apc/ks/few-shot"])
def test_a_bundle_is_made_from_every_folder_that_holds_the_result(where: str, a_folder: Folder, a_shot_folder: Folder) -> None:
    a_folder("apc", 40)
    root = a_shot_folder("apc", 20).parent
    ((name, data),) = one_per_upstream(root / where, without_references=False)
    assert name == "apc"
    assert NAME in open_bundle(data).entries


@pytest.mark.slow
def test_a_page_drawn_from_a_copied_board_scores_the_draws_again(tmp_path: Path, a_shot_folder: Folder) -> None:
    board = Board(tmp_path / "board")
    board.submit(a_shot_folder("apc", 20))
    shutil.copytree(tmp_path / "board" / "bundles", tmp_path / "copied" / "bundles")
    data = Board(tmp_path / "copied").contents()
    assert data["refused"] == []
    assert data["sections"][0]["shots"][0]["rows"][0]["ks.accuracy"]["value"] == pytest.approx(42.5)


def asked(folder: Path, most: int) -> list[Prediction]:
    """The predictions of the first `most` items, by id."""
    predictions = read_predictions(folder / "ks" / "in-context" / "predictions.jsonl.gz")
    first = sorted({prediction.id for prediction in predictions})[:most]
    return [prediction for prediction in predictions if prediction.id in first]


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True])
def test_in_context_a_sample_of_the_test_is_asked_and_no_smaller_one_is_accepted(
    own: bool, tmp_path: Path, a_shot_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("superbench.board.bundles.answers.MOST_ITEMS", 40)
    board = Board(tmp_path / "board")
    if own:
        board.add_references(a_shot_folder("keeper", 48, where="mine"))
    folder = a_shot_folder("apc", 20, protocol="in-context")
    fewer = a_shot_folder("apc", 20, protocol="in-context", where="fewer", predictions=asked(folder, 39))
    with pytest.raises(BadResult, match="it has 39 predictions in fold all, but its passport lists 40"):
        board.submit(fewer)
    sampled = a_shot_folder("apc", 20, protocol="in-context", where="sampled", predictions=asked(folder, 40))
    with pytest.raises(BadResult, match="the result claims"):  # the scores are those of all 96 items
        board.submit(sampled)


def test_references_are_not_taken_from_a_sample(tmp_path: Path, a_shot_folder: Folder) -> None:
    with pytest.raises(BadResult, match="only results in context"):
        Board(tmp_path / "board").add_references(a_shot_folder("apc", 20, protocol="in-context"))


@pytest.mark.slow
def test_in_context_results_are_scored_with_the_boards_own_references(tmp_path: Path, a_shot_folder: Folder) -> None:
    board = Board(tmp_path / "board")
    board.add_references(a_shot_folder("keeper", 48, where="mine"))
    board.submit(a_shot_folder("apc", 20, protocol="in-context"))
    board.submit(a_shot_folder("tera", 12, protocol="in-context"))
    (section,) = board.contents()["sections"]
    assert [row["name"] for row in section["rows"]] == ["apc", "tera"]
