"""Details behind a board's numbers: receipts, families, the hardest items, and the draws of paired tests."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import doubles
import numpy as np
import pytest

from superbench.board.page import details, draws
from superbench.board.page.contents import contents
from superbench.contract import Prediction
from superbench.plugins import task
from superbench.results import Result, item_errors
from superbench.results.grouping import grouped
from superbench.results.intervals import Replicates, replicates
from superbench.results.published import published
from superbench.results.rows import Cell, Column, Row, columns

WORDS = ("yes", "no")
DEVS = {0.1: 50.123456, 0.01: None}


@pytest.fixture(scope="module")
def over() -> list[Column]:
    return columns()


def said(right: int, first: int = 0) -> list[Prediction]:
    """Keywords of 30 speakers; for `right` speakers from `first` on, both predictions are correct."""
    return [
        Prediction(f"{word}/{n:02}.wav", "all", (f"s{n}",), word, word if first <= n < first + right else "stop")
        for n in range(30)
        for word in WORDS
    ]


def result(name: str, **more: Any) -> Result:
    return doubles.result(
        name, model={"layers": 2},
        **{
            "sweep": [doubles.receipt(lr, dev) for lr, dev in DEVS.items()],
            "environment": {"spec": f"{name}=apc:untrained"}, **more,
        },
    )  # fmt: skip


def row(name: str, **more: Any) -> Row:
    return Row(name, "local", "pretrained", {"ks.accuracy": Cell(50.0)}, results={"ks": result(name, **more)})


def behind(over: list[Column], given: dict[str, Sequence[Prediction]], **more: Any) -> dict[str, Any]:
    """Returns the details of a table of rows with these predictions."""
    rows = [row(name, **more) for name in given]
    return details.behind(rows, over, lambda result: details.ScoredPredictions.of(result, given[result.upstream.name]))


# ---------------------------------------------------------------- a row


def test_receipts_say_what_was_chosen_and_keep_silent_about_what_goes_without_saying() -> None:
    found = details.receipts(row("a"))["ks"]["sweep"]
    assert found == {"points": 2, "chosen": [0], "lr": [0.1, 0.01], "dev": [50.123, None], "steps": 10}


def test_receipts_of_settings_and_folds_are_whole() -> None:
    settings = [{"layer": 0, "distance": "cosine"}, {"layer": 1, "distance": "cosine"}]
    points = [{"fold": fold, "lr": None, "seed": None, "dev": 0.5, "steps": 0, "setting": setting}
              for fold in ("fold1", "fold2") for setting in settings]  # fmt: skip
    chosen = {fold: {"lr": None, "seed": None, "setting": {"layer": 1, "distance": "cosine"}} for fold in ("fold1", "fold2")}
    assert details.receipts(row("a", sweep=points, chosen=chosen))["ks"]["sweep"] == {
        "points": 4, "chosen": [1, 3], "fold": ["fold1", "fold1", "fold2", "fold2"], "lr": None, "seed": None, "steps": 0,
        "dev": 0.5, "setting.layer": [0, 1, 0, 1], "setting.distance": "cosine",
    }  # fmt: skip


def test_rows_of_a_table_share_fingerprint_and_items(over: list[Column]) -> None:
    assert details.behind([row("a"), row("b")], over, None)["data"] == {"ks": {"fingerprint": "f", "items": {"test": 60}}}


def test_layers_are_the_mean_over_folds() -> None:
    mixes = {"fold1": [0.2, 0.8], "fold2": [0.4, 0.6]}
    assert details.receipts(row("a", layer_weights=mixes))["ks"]["layers"] == [0.3, 0.7]
    assert details.receipts(row("a"))["ks"]["layers"] == []


@pytest.mark.parametrize(
    ("spec", "family"),
    [
        ("x=apc:untrained", "apc"),
        ("hf/org/model", "hf"),
        ("mine=folder/file.py:Own", "Own"),
        ("tera@weights.safetensors", "tera"),
    ],
)
def test_a_family_is_what_the_spec_names(spec: str, family: str) -> None:
    assert details.facts(row("x", environment={"spec": spec}))["family"] == family


def test_published_rows_have_the_family_and_corpus_of_the_table(over: list[Column]) -> None:
    found = {row.name: details.facts(row) for row in published(over)}
    assert found["HuBERT Base"] == {"family": "masked", "corpus": "LS 960 hr", "rtf": None}
    assert found["FBANK"] == {"family": "spectral", "corpus": None, "rtf": None}


def test_speed_is_taken_from_the_efficiency_card_and_may_be_absent() -> None:
    assert details.facts(row("x", efficiency={"real_time_factor": 0.02}))["rtf"] == 0.02
    assert details.facts(replace(row("x"), results={})) == {"family": None, "corpus": None, "rtf": None}


# ---------------------------------------------------------------- the hardest items


def test_the_hardest_items_are_those_that_most_rows_miss(over: list[Column]) -> None:
    found = behind(over, {"a": said(29), "b": said(28), "c": said(10)})["hardest"]["ks"]
    assert found["of"] == 3
    assert [item["id"] for item in found["items"][:4]] == ["yes/29.wav", "no/29.wav", "yes/28.wav", "no/28.wav"]
    assert [(item["wrong"], item["by"]) for item in found["items"][1:3]] == [(3, "xxx"), (2, "oxx")]
    assert found["items"][0]["reference"] == "yes"
    assert found["items"][0]["said"] == [["stop", 3]]
    assert len(found["items"]) == details.HARDEST


def test_items_that_everybody_gets_right_are_not_hard(over: list[Column]) -> None:
    assert behind(over, {"a": said(30), "b": said(30)})["hardest"]["ks"]["items"] == []


@pytest.mark.parametrize("protocol", ["superb", "mini"])
def test_texts_of_a_persons_own_corpora_stay_off_the_page(over: list[Column], protocol: str) -> None:
    passport = {"lists": {"test": "d"}, "miniature": None}
    own = {
        "task": {"name": "ks", "version": 1, "protocol": protocol},
        "data": {"fingerprint": "f", "items": {"test": 60}, "passport": passport},
    }
    found = behind(over, {"a": said(10), "b": said(10)}, **own)["hardest"]["ks"]["items"][0]
    assert set(found) == {"id", "fold", "error", "wrong", "by"}


def test_an_error_of_an_utterance_is_its_own_score() -> None:
    given = [Prediction("a", "all", ("x",), "ONE TWO", "ONE TO"), Prediction("b", "all", ("y",), "ONE", "ONE")]
    assert item_errors.item_errors(given, task("asr").score(given, {})["wer"]).tolist() == [0.5, 0.0]
    given = [Prediction("a", "all", ("x",), "ONE", "NO ONE IS THERE")]  # more errors than words
    assert item_errors.item_errors(given, task("asr").score(given, {})["wer"]).tolist() == [1.0]


def test_an_error_of_a_trial_is_its_side_of_the_threshold() -> None:
    random = np.random.default_rng(3)
    scores = [*random.normal(2, 1, 50), *random.normal(0, 1, 50)]
    given = [Prediction(f"{n}", "all", ("x",), int(n < 50), float(score)) for n, score in enumerate(scores)]
    errors = item_errors.item_errors(given, task("asv").score(given, {})["eer"])
    share = task("asv").score(given, {})["eer"].value / 100
    assert errors[:50].mean() == pytest.approx(share, abs=0.02)
    assert errors[50:].mean() == pytest.approx(share, abs=0.02)


def test_rows_of_other_items_and_rows_without_answers_are_left_out(over: list[Column]) -> None:
    other = [replace(one, id=f"x{one.id}") for one in said(20)]
    assert behind(over, {"a": said(10), "b": said(20), "c": other})["hardest"]["ks"]["of"] == 2
    found = details.behind([row("a"), row("b")], over, lambda result: None)
    assert (found["hardest"], found["draws"]) == ({}, {})


def test_what_a_board_keeps_to_itself_is_not_shown(over: list[Column]) -> None:
    def hidden(result: Result) -> details.ScoredPredictions:
        return replace(details.ScoredPredictions.of(result, said(10)), errors=np.empty(0))

    found = details.behind([row("a"), row("b")], over, hidden)
    assert found["hardest"] == {}
    assert set(found["draws"]) == {"ks.accuracy"}


# ---------------------------------------------------------------- draws


def test_draws_are_kept_to_a_part_in_65_thousand(over: list[Column]) -> None:
    kept = behind(over, {"a": said(10), "b": said(20)})["draws"]["ks.accuracy"]
    want = replicates(said(20), task("ks").score(said(20), {})["accuracy"])
    packed = kept["rows"]["1"]
    steps = np.frombuffer(base64.b64decode(packed["steps"]), "<u2")
    values = packed["lo"] + (packed["hi"] - packed["lo"]) * steps / draws.STEPS
    assert np.allclose(values, want.values, atol=(packed["hi"] - packed["lo"]) / draws.STEPS)
    assert (kept["folds"], kept["scale"]) == ([], 30 / 29)


def test_many_rows_share_the_room() -> None:
    rows = {place: Replicates(np.arange(1000.0), 30, "d") for place in range(500)}
    text = draws.column(rows, draws.share(500 * 11))
    assert text is not None
    assert len(str(text)) * 11 < 4_000_000
    assert len(text["rows"]) == 500


def test_checkpoints_of_one_model_are_a_series_of_probes(over: list[Column]) -> None:
    rows = [doubles.made(f"mine-step{updates}", 10 + place) for place, updates in enumerate((100, 200, 1000))]
    groups = grouped([*rows, doubles.made("fbank", 5)])
    shown = {row["name"]: (row["series"], row["updates"]) for row in contents(groups, over)["groups"][0]["rows"]}
    assert shown == {f"mine-step{updates}": ("mine-step", updates) for updates in (100, 200, 1000)} | {"fbank": (None, None)}


# ---------------------------------------------------------------- confusion matrices, pretraining data


def test_a_classification_task_has_a_confusion_matrix_for_each_row(over: list[Column]) -> None:
    found = behind(over, {"a": said(10), "b": said(30)})["confusion"]["ks"]
    assert found["0"] == {"labels": ["no", "stop", "yes"], "counts": ((10, 20, 0), (0, 0, 0), (0, 20, 10)), "left_out": 0}
    assert found["1"]["counts"] == ((30, 0), (0, 30))


def test_labels_that_a_board_keeps_to_itself_have_no_matrix(over: list[Column]) -> None:
    def hidden(result: Result) -> details.ScoredPredictions:
        return replace(details.ScoredPredictions.of(result, said(10)), errors=np.empty(0))

    assert "confusion" not in details.behind([row("a")], over, hidden)


def test_tasks_are_named_whose_corpus_a_model_declares(over: list[Column]) -> None:
    assert details.seen("LibriSpeech 960 h, Speech Commands v0.02", over) == ["asr", "ks", "pr"]
    assert details.seen("nothing", over) == details.seen(None, over) == []
