"""What a stranger claims in a bundle: types of predictions, intervals, metrics, a passport, an examination, copies."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doubles
import pytest

from superbench import plugins
from superbench.board.board import Board
from superbench.board.bundles.bundle import pack_bundle
from superbench.contract import Prediction
from superbench.errors import Refusal
from superbench.results import Result, read_predictions, read_result, write_result

Forge = Callable[[bytes, Callable[[dict[str, Any]], object]], bytes]
Folder = Callable[..., Path]
TURNS = [[0.0, 1.5, "a"], [1.0, 2.5, "b"]]
INTENT = {"action": "activate", "object": "lights", "location": "kitchen"}
NAMED = {  # task -> (primary metric, unit, higher is better, reference, prediction)
    "qbe": ("mtwv", "fraction", True, 1, 0.5), "asv": ("eer", "%", False, 1, 0.5), "sd": ("der", "%", False, TURNS, TURNS),
    "ic": ("accuracy", "%", True, INTENT, INTENT), "sf": ("slot_type_f1", "%", True, "A B-x C E-x", "A"),
    "pr": ("per", "%", False, "AA B", "AA"), "ks": ("accuracy", "%", True, "yes", "no"),
}  # fmt: skip


def answered(kind: str, tmp_path: Path, odd: Any) -> Path:
    """A result whose second prediction is `odd`; its score is not the one that the predictions give."""
    metric, unit, higher, reference, prediction = NAMED[kind]
    said = [Prediction(f"q{n}|d", "all", (f"s{n}",), copy.deepcopy(reference), prediction) for n in range(4)]
    said = [dataclasses.replace(one, reference=n % 2) for n, one in enumerate(said)] if kind in ("qbe", "asv") else said
    said[1] = dataclasses.replace(said[1], prediction=odd)
    scores = {metric: doubles.score_facts(7.0) | {"unit": unit, "higher_is_better": higher}}
    result = doubles.result(
        "guest",
        kind=kind,
        version=plugins.task(kind).card.version,
        scores=scores,
        data={"fingerprint": "f", "items": {"test": 4}},
    )
    (tmp_path / "guest" / kind).mkdir(parents=True)
    write_result(tmp_path / "guest" / kind, result, said)
    return tmp_path / "guest"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "odd"),
    [
        *[(kind, odd) for kind in ("qbe", "asv") for odd in (None, True, [1], "x", {})],
        *[("sd", odd) for odd in (None, "x", 1.0, [1], [[0, 1]], [[0, 1, None]], [[True, 1, "a"]], [[0.0, 1e308, "a"]])],
        *[("ic", odd) for odd in (None, "x", [], {"action": 1})],
        *[(kind, odd) for kind in ("sf", "pr", "ks") for odd in (None, 1, True, ["yes"], {})],
    ],
)
def test_predictions_of_another_type_are_refused_with_the_id_of_the_item(kind: str, odd: Any, tmp_path: Path) -> None:
    bundle = pack_bundle(answered(kind, tmp_path, odd))
    with pytest.raises(Refusal, match=r"the prediction for q1\|d (is .*; expected|cannot be scored)") as caught:
        Board(tmp_path / "board").examine(bundle)
    assert caught.value.code == "predictions"


def test_references_of_another_type_do_not_open_the_type_of_predictions(tmp_path: Path) -> None:
    place = answered("qbe", tmp_path, None)
    said = [dataclasses.replace(one, reference=True) for one in read_predictions(place / "qbe/predictions.jsonl.gz")]
    write_result(place / "qbe", read_result(place / "qbe"), said)
    with pytest.raises(Refusal, match=r"the prediction for q1\|d is null; expected a finite number"):
        Board(tmp_path / "board").examine(pack_bundle(place))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "right"),
    [("qbe", 1), ("asv", -0.25), ("sd", []), ("sd", [[0, 1, "x"]]), ("ic", INTENT), ("sf", ""), ("ks", "stop")],
)
def test_predictions_of_the_type_of_the_task_are_scored(kind: str, right: Any, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:  # the scores are not those of these predictions
        Board(tmp_path / "board").examine(pack_bundle(answered(kind, tmp_path, right)))
    assert caught.value.code == "score"


def single(record: dict[str, Any]) -> None:
    record["scores"]["accuracy"].update(ci=None)


@pytest.mark.parametrize(
    ("change", "reason", "code"),
    [
        (single, r"the interval of accuracy differs from the one that its predictions give \(the result has none\)", "score"),
        (lambda r: r.update(primary="nope"), "its primary metric is 'nope', .* of the task is 'accuracy'", "score"),
        (lambda r: r["scores"].update(other=r["scores"].pop("accuracy")), "reports other", "score"),
    ],
)
def test_an_interval_or_a_metric_that_is_hidden_is_refused(
    change: Callable[[dict[str, Any]], None], reason: str, code: str, a_folder: Folder, forged: Forge, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match=reason) as caught:
        Board(tmp_path / "board").examine(forged(pack_bundle(a_folder("guest", 30)), change))
    assert caught.value.code == code


def test_few_shot_claims_of_another_metric_are_refused(a_shot_folder: Folder, tmp_path: Path) -> None:
    def change(record: dict[str, Any]) -> None:
        record["primary"] = "nope"

    bundle = doubles.forged(pack_bundle(a_shot_folder("guest", 20)), change, "ks/few-shot")
    with pytest.raises(Refusal, match="its primary metric is 'nope'"):
        Board(tmp_path / "board").examine(bundle)


def test_another_fold_is_refused_with_the_splits_that_are_listed(a_folder: Folder, tmp_path: Path) -> None:
    said = [dataclasses.replace(one, fold="fold9") for one in doubles.said(30)]
    with pytest.raises(Refusal, match="predictions in fold fold9, of which it lists no test items; it lists test"):
        Board(tmp_path / "board").examine(pack_bundle(a_folder("guest", 30, predictions=said)))


# ---------------------------------------------------------------- the passport

HONEST = {
    "hours": 0.0311,
    "sample_rates": {"16000": 106},
    "counts": {"train": 10, "train groups": 5, "test": 96, "test groups": 48, "test/yes": 48, "test/no": 48},
    "durations": {
        "train": {"hours": 0.0044, "shortest": 1.2, "mean": 1.6, "longest": 1.9},
        "test": {"hours": 0.0267, "shortest": 0.9, "mean": 1.0, "longest": 1.1},
    },
}


def described(**instead: Any) -> Callable[[dict[str, Any]], None]:
    """A change that gives a record the honest passport, with some entries replaced."""

    def change(record: dict[str, Any]) -> None:
        passport = copy.deepcopy(HONEST)
        for key, value in instead.items():
            if key != "items":
                passport[key] = {**passport[key], **value} if isinstance(value, dict) else value
        record["data"] |= {"passport": passport, "items": instead.get("items", {"train": 10, "test": 96})}

    return change


@pytest.mark.slow
def test_a_passport_that_agrees_with_itself_is_accepted(a_folder: Folder, forged: Forge, tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    board.accept(board.examine(forged(pack_bundle(a_folder("guest", 30)), described())))
    cut = described(items={"train": 6, "test": 96, "dev": 0})  # ASV leaves out short utterances
    board.accept(board.examine(forged(pack_bundle(a_folder("other", 31)), cut)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (described(counts={"test groups": 66}), "counts 66 test groups, its predictions have 48"),
        (described(hours=17.8), "17.8 hours of sound, and 0.0311 in all splits"),
        (described(counts={"train": 51094}, items={"train": 51094, "test": 96}), "51094 items of train of 1.6 s are 22.7"),
        (described(counts={"train": 51094}), "counts 51094 of train, of which only 10 were used"),
        (described(counts={"train/yes": 8, "train/no": 3}), "counts 10 of train, and 11 in the parts of it"),
        (described(counts={"test trials": 12}), "counts 12 of test trials, and lists 0"),
        (described(counts={"dev": 0, "dev groups": 3}), "counts 3 groups of dev, which has no items"),
        (described(durations={"test": HONEST["durations"]["test"] | {"mean": 1.2}}), "mean duration of test"),
    ],
)  # fmt: skip
def test_a_passport_that_contradicts_itself_is_refused(
    change: Callable[[dict[str, Any]], None], reason: str, a_folder: Folder, forged: Forge, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match=reason) as caught:
        Board(tmp_path / "board").examine(forged(pack_bundle(a_folder("guest", 30)), change))
    assert caught.value.code == "passport"


def test_hours_far_from_the_published_ones_are_not_the_published_corpus(a_result: Callable[..., Result]) -> None:
    from superbench.results.official import corpora_of

    counts = dict(plugins.task("ks").card.counts)

    def corpora(hours: float) -> str:
        duration = {"hours": hours, "shortest": 0.1, "mean": 1.0, "longest": 1.0}
        data = {"fingerprint": "f", "items": {"test": 3081}, "passport": {"counts": counts, "durations": {"train": duration}}}
        return corpora_of(a_result("x", 30, protocol="superb", data=data))

    assert (corpora(14.2), corpora(0.47), corpora(90)) == ("published", "other", "other")


# ---------------------------------------------------------------- miniatures


def lists(miniature: str | None, test: str = "d") -> dict[str, Any]:
    return {"fingerprint": f"of {test}", "items": {"test": 96}, "passport": {"lists": {"test": test}, "miniature": miniature}}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["mini", "superb"])
@pytest.mark.parametrize("first", [True, False])
def test_data_of_a_miniature_stay_a_miniature_if_a_passport_leaves_it_out(
    protocol: str, first: bool, a_folder: Folder, tmp_path: Path
) -> None:
    """Its fingerprint or its list tells, whoever comes first."""
    board = Board(tmp_path / "board")
    honest = a_folder("honest", 30, data=lists("miniature corpora, seed 0"))
    same = a_folder("same", 31, protocol=protocol, data=lists(""))
    another = a_folder("another", 32, protocol=protocol, data=lists(None) | {"fingerprint": "invented"})
    real = a_folder("real", 33, protocol=protocol, data=lists(None, "elsewhere"))
    for folder in (honest, same, another, real) if first else (real, another, same, honest):
        board.submit(folder)
    groups = board.contents()["groups"][:-1]
    titles = {row["name"]: group["title"].replace(" (other data)", "") for group in groups for row in group["rows"]}
    small = "Miniature corpora" if protocol == "mini" else "Official recipes, on miniature corpora"
    assert titles["honest"] == "Miniature corpora"
    assert titles["same"] == titles["another"] == small
    assert titles["real"] == ("Mini recipes on other corpora" if protocol == "mini" else "Official recipes, on other corpora")
    (note,) = [group["note"] for group in groups if "same" in [row["name"] for row in group["rows"]]]
    assert "same" in note.partition("synthetic miniatures")[2].partition("declared as other corpora")[0]


@pytest.mark.slow
def test_that_corpora_are_no_miniatures_is_told_as_the_word_of_the_submitters(a_folder: Folder, tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    board.submit(a_folder("real", 33, data=lists(None, "elsewhere")))
    assert "According to the submitters, the corpora are not synthetic miniatures." in board.contents()["groups"][0]["note"]
    board.add_references(a_folder("mine", 3, where="mine", data=lists(None, "elsewhere")))
    assert " The corpora are not synthetic miniatures." in board.contents()["groups"][0]["note"]


# ---------------------------------------------------------------- copies and examinations


@pytest.mark.slow
def test_a_copy_is_one_without_some_k_and_with_other_numbers_of_its_draws(a_shot_folder: Folder, tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    board.submit(a_shot_folder("first", 20))
    said = [one for one in doubles.said_at(20) if one.k != 1]
    turned = [one if one.k == "all" else dataclasses.replace(one, draw=9 - (one.draw or 0)) for one in said]
    less = doubles.made_at("thief", 24, shots=doubles.SHOTS[1:])  # K = 5 of `first` has four right speakers more
    place = tmp_path / "results/thief/ks/few-shot"
    place.mkdir(parents=True)
    write_result(place, less, turned)
    board.submit(place.parents[1])
    board.submit(a_shot_folder("own", 21))
    (section,) = board.contents()["sections"]
    assert {row["name"]: row["copied"] for row in section["rows"]} == {
        "first": None, "own": None, "thief": "ks: the same predictions as first",
    }  # fmt: skip


@pytest.mark.slow
def test_an_examination_that_failed_or_is_missing_is_shown(a_folder: Folder, forged: Forge, tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    certificates: dict[str, dict[str, Any]] = {
        "true": {"shape": {"holds": True}, "finite": {"holds": True}},
        "failed": {"shape": {"holds": True}, "finite": {"holds": False, "measured": "NaN in 3 frames", "action": "left out"}},
        "silent": {"finite": {}},
        "none": {},
    }
    for number, (name, certificate) in enumerate(certificates.items()):
        bundle = forged(pack_bundle(a_folder(name, 30 + number)), lambda r, told=certificate: r.update(certificate=told))
        board.accept(board.examine(bundle))
    assert {row["name"]: row["examination"] for row in board.contents()["groups"][0]["rows"]} == {
        "true": "2 of 2 checks hold",
        "failed": "1 of 2 checks hold; finite does not hold (NaN in 3 frames, left out)",
        "silent": "0 of 1 checks hold; finite does not hold",
        "none": "no examination for KS",
    }
