"""Official results: protocol, passport and predictions agree; labels, seeds and intervals are known."""

from __future__ import annotations

import csv
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doubles
import pytest

from superbench import plugins
from superbench.board.board import Board
from superbench.board.bundles.bundle import MOST_PREDICTIONS, open_bundle, pack_bundle
from superbench.board.page import render
from superbench.board.server.scoring_cost import work_of
from superbench.contract import Prediction
from superbench.errors import Refusal
from superbench.results import Result, write_result
from superbench.results.grouping import Known, grouped
from superbench.results.rows import key_of
from superbench.results.tables import as_csv, as_latex, as_markdown, load_results

Forge = Callable[[bytes, Callable[[dict[str, Any]], object]], bytes]
COUNTS = dict(plugins.task("ks").card.counts)
UNVERIFIED = "labels by the submitter, not verified"


def answered(wrong: int) -> list[Prediction]:
    """As many items of each class as the published test has; the first `wrong` are missed."""
    classes = [(key.removeprefix("test/"), count) for key, count in COUNTS.items() if key.startswith("test/")]
    items = [(f"{name}/{n}.wav", name, f"s{n % 90}") for name, count in classes for n in range(count)]
    return [
        Prediction(one, "all", (group,), name, name if place >= wrong else "yes" if name == "no" else "no")
        for place, (one, name, group) in enumerate(items)
    ]


@functools.cache
def scores_of_answers(wrong: int) -> dict[str, Any]:
    """A thousand resamples of three thousand answers take seconds."""
    return doubles.scores_of("ks", answered(wrong))


def honest(place: Path, made: Callable[..., Result], name: str, wrong: int, fingerprint: str = "official", **data: Any) -> Path:
    """A result of the official recipe on the published corpus, as a run writes it."""
    said = answered(wrong)
    passport = {"lists": {"test": fingerprint}, "counts": COUNTS} | data
    result = made(
        name, 30, protocol="superb", scores=scores_of_answers(wrong),
        data={"fingerprint": fingerprint, "items": {"test": len(said)}, "passport": passport},
    )  # fmt: skip
    (place / name / "ks").mkdir(parents=True)
    write_result(place / name / "ks", result, said)
    return place / name


def tables(board: Board) -> list[tuple[str, bool, list[str]]]:
    found = [group for group in board.contents()["groups"] if group["protocol"] != "published"]
    return [(group["title"], group["scored"], [row["name"] for row in group["rows"]]) for group in found]


@pytest.mark.slow
def test_a_miniature_never_counts_as_the_official_protocol_and_takes_no_score_from_others(
    address: str, tmp_path: Path, a_result: Callable[..., Result]
) -> None:
    board = Board(address)
    board.submit(honest(tmp_path, a_result, "true", 300))
    board.submit(honest(tmp_path, a_result, "small", 0, "other", miniature="miniature corpora, seed 0"))
    assert sorted(tables(board)) == [
        (f"Official protocol, {UNVERIFIED}", True, ["true"]),
        ("Official recipes, on miniature corpora", False, ["small"]),
    ]


def test_a_row_of_another_task_on_a_miniature_leaves_the_score_to_the_others(a_result: Callable[..., Result]) -> None:
    """They share no task, so only the type of corpora separates them."""
    real = {"fingerprint": "f", "items": {"test": 96}, "passport": {"counts": COUNTS}}
    other = a_result("guest", 30, protocol="superb")
    small = other.model_copy(
        update={
            "task": other.task.model_copy(update={"name": "er"}),
            "data": other.data.model_copy(update={"passport": other.data.passport.model_copy(update={"miniature": "m"})}),
        }
    )
    groups = grouped([small, a_result("true", 30, protocol="superb", data=real)])
    assert {group.rows[0].name: group.scored for group in groups} == {"guest": False, "true": True}


@pytest.mark.slow
@pytest.mark.parametrize(
    "passport", [{"lists": {"test": "d"}}, {"counts": COUNTS | {"train": 10}}, {"counts": {"test": 96, "train": 10}}]
)
def test_what_is_not_the_published_corpus_is_said_and_has_no_score(
    passport: dict[str, Any], tmp_path: Path, a_folder: Callable[..., Path], forged: Forge
) -> None:
    def change(record: dict[str, Any]) -> None:
        record["data"]["passport"] = {
            **passport,
            "counts": passport.get("counts", {}) | ({"test": 96} if "counts" in passport else {}),
        }
        for key in [key for key in record["data"]["passport"]["counts"] if "/" in key]:
            del record["data"]["passport"]["counts"][key]

    board = Board(tmp_path / "board")
    board.accept(board.examine(forged(pack_bundle(a_folder("guest", 30, protocol="superb")), change)))
    assert tables(board) == [("Official recipes, on other corpora", False, ["guest"])]
    (note,) = [group["note"] for group in board.contents()["groups"] if group["protocol"] == "superb"]
    assert "These corpora are not as published: KS (" in note


@pytest.mark.parametrize("key", ["test", "test/yes"])
def test_a_passport_that_its_predictions_contradict_is_refused(
    key: str, address: str, a_folder: Callable[..., Path], forged: Forge
) -> None:
    board = Board(address)
    counts = {"test": 96, "test/yes": 48} | {key: COUNTS[key]}
    bad = forged(
        pack_bundle(a_folder("guest", 30, protocol="superb")),
        lambda record: record["data"].update(passport={"counts": counts, "lists": {"test": "d"}}),
    )
    with pytest.raises(Refusal, match=f"its passport counts {COUNTS[key]} of {key}, its predictions") as caught:
        board.accept(board.examine(bad))
    assert caught.value.code == "passport"


@pytest.mark.slow
def test_data_that_a_board_with_references_does_not_know_are_refused(address: str, a_folder: Callable[..., Path]) -> None:
    board = Board(address)
    board.submit(a_folder("before", 40, fingerprint="forged"))
    board.add_references(a_folder("mine", 3, where="mine"))
    with pytest.raises(Refusal, match="fingerprint forged; this board has references for f") as caught:
        board.submit(a_folder("guest", 48, fingerprint="forged"))
    assert caught.value.code == "references"
    board.submit(a_folder("true", 30))
    found = board.contents()
    assert [[row["name"] for row in group["rows"]] for group in found["groups"][:-1]] == [["true"]]
    assert "before: ks: its data have the fingerprint forged" in found["refused"][0]
    assert UNVERIFIED not in render.render(found)


def test_a_passport_that_hides_the_miniature_is_refused_where_the_keeper_knows_it(
    address: str, a_folder: Callable[..., Path]
) -> None:
    board = Board(address)
    board.add_references(a_folder("mine", 3, where="mine"))
    with pytest.raises(Refusal, match="a real corpus; this board's own references describe them as a synthetic miniature"):
        board.submit(a_folder("guest", 30, protocol="superb"))


@pytest.mark.slow
def test_labels_of_the_first_submitter_bind_nobody_and_are_said_to_be_unverified(
    address: str, a_folder: Callable[..., Path]
) -> None:
    board = Board(address)
    own = open_bundle(pack_bundle(a_folder("x", 30))).entries["ks"].predictions
    lies = [dataclasses.replace(one, reference=one.prediction) for one in own]
    board.submit(a_folder("cheat", 48, predictions=lies))
    for number, name in enumerate(("one", "two")):
        board.submit(a_folder(name, 30 + number))
    groups = board.contents()["groups"][:-1]
    assert [[row["name"] for row in group["rows"]] for group in groups] == [["two", "one"], ["cheat"]]
    assert "KS with other items or labels" in groups[1]["reason"]
    assert all(f"no references of its own: {UNVERIFIED}" in group["note"] for group in groups)


def test_a_row_with_labels_of_its_own_in_one_task_parts_nobody_from_the_others(a_result: Callable[..., Result]) -> None:
    """The guest's row has most tasks, and comes first."""

    def on(name: str, task: str) -> Result:
        made = a_result(name, 30)
        return made.model_copy(update={"task": made.task.model_copy(update={"name": task})})

    results = [on("guest", task) for task in ("ks", "ic", "er")] + [on(name, task) for name in "ab" for task in ("ks", "ic")]
    results.append(on("c", "ks"))
    labels = {key_of(one): Known(labels="lies" if key_of(one)[:3:2] == ("guest", "ic") else "true") for one in results}
    groups = grouped(results, labels)
    assert [sorted(row.name for row in group.rows) for group in groups] == [["a", "b", "c"], ["guest"]]


# ---------------------------------------------------------------- seeds and intervals


def seeded(*seeds: int, said: str = "") -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        record["sweep"] = [row | {"seed": seed} for seed in seeds for row in record["sweep"]]
        record["chosen"]["all"]["seed"] = min(seeds)
        record["deviations"] = [said] if said else []

    return change


def ragged(record: dict[str, Any]) -> None:
    seeded(0, 1, said="seeds 0, 1 in place of 0")(record)
    record["sweep"].pop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason", "code"),
    [
        (seeded(7), "has the seeds 7, the recipe has 0, and no deviation lists them", "learning_rate"),
        (seeded(1, 2), "has the seeds 1, 2, the recipe has 0", "learning_rate"),
        (seeded(1, 2, 3, said="seeds 1, 2 in place of 0"), "has the seeds 1, 2, 3", "learning_rate"),
        (seeded(7, said="seeds 70 in place of 0"), "has the seeds 7", "learning_rate"),
        (lambda r: [row.update(seed=None) for row in r["sweep"]], "has the seeds None", "learning_rate"),
        (ragged, "not all tried with the same learning rates", "learning_rate"),
        (
            lambda r: r["scores"]["accuracy"].update(ci_method="bootstrap over 10000 groups"),
            "computed by 'cluster bootstrap over 48 groups'; the result claims 'bootstrap over 10000 groups'", "score",
        ),
    ],
)  # fmt: skip
def test_seeds_and_intervals_that_do_not_hold_are_refused(
    change: Callable[[dict[str, Any]], object],
    reason: str,
    code: str,
    address: str,
    a_folder: Callable[..., Path],
    forged: Forge,
) -> None:
    board = Board(address)
    with pytest.raises(Refusal, match=reason) as caught:
        board.accept(board.examine(forged(pack_bundle(a_folder("guest", 30)), change)))
    assert caught.value.code == code
    assert board.storage.bundles() == []


def test_seeds_beside_that_of_the_recipe_are_taken_and_ranked(
    tmp_path: Path, a_folder: Callable[..., Path], forged: Forge
) -> None:
    board = Board(tmp_path / "board")
    board.accept(board.examine(forged(pack_bundle(a_folder("model", 30)), seeded(0, 1, 2))))
    (row,) = board.contents()["groups"][0]["rows"]
    assert (row["name"], row["rank"]) == ("model", 1)


@pytest.mark.slow
@pytest.mark.parametrize("said", ["seeds 2, 0, 1 in place of 0", "seeds 0, 1, 2 in place of 0"])
def test_seeds_that_are_told_are_taken_and_not_ranked(
    said: str, tmp_path: Path, a_folder: Callable[..., Path], forged: Forge
) -> None:
    board = Board(tmp_path / "board")
    board.accept(board.examine(forged(pack_bundle(a_folder("model", 30)), seeded(0, 1, 2, said=said))))
    (row,) = board.contents()["groups"][0]["rows"]
    assert (row["name"], row["rank"]) == ("model", None)


# ---------------------------------------------------------------- copies


@pytest.mark.slow
def test_the_same_predictions_under_another_name_are_shown_as_a_copy(address: str, a_folder: Callable[..., Path]) -> None:
    """In any order of the lines, and also if the first one is submitted again in a newer version."""
    board = Board(address)
    own = open_bundle(pack_bundle(a_folder("x", 30))).entries["ks"].predictions
    board.submit(a_folder("first", 30))
    board.submit(a_folder("thief", 30, predictions=list(reversed(own)), revision="another"))
    board.submit(a_folder("other", 20))
    board.submit(a_folder("first", 30, where="again", revision="newer"))
    found = board.contents()
    assert {row["name"]: row["copied"] for row in found["groups"][0]["rows"]} == {
        "first": None, "other": None, "thief": "ks: the same predictions as first",
    }  # fmt: skip
    assert "the same predictions as first" in render.render(found)


def test_tables_of_results_say_which_rows_are_copies(tmp_path: Path, a_folder: Callable[..., Path]) -> None:
    results = load_results(a_folder("first", 30), a_folder("thief", 30, revision="another"), a_folder("other", 20))
    assert "thief: ks: the same predictions as first" in as_markdown(results)
    assert "thief: ks: the same predictions as first" in as_latex(results)
    assert "other: ks" not in as_markdown(results) + as_latex(results)
    assert [line["copy of"] for line in csv.DictReader(as_csv(results).splitlines())] == ["", "first", ""]


# ---------------------------------------------------------------- sizes


@pytest.mark.slow
def test_an_official_set_of_queries_and_documents_is_within_all_bounds(tmp_path: Path, a_result: Callable[..., Result]) -> None:
    """QbE has the most predictions of all tasks: 138 queries by 2 438 documents, a sixth of what is read."""
    made, counts = a_result("apc", 30), plugins.task("qbe").card.counts
    result = made.model_copy(update={"task": made.task.model_copy(update={"name": "qbe"})})
    said = [
        Prediction(f"quesst14_eval_{q:04}|quesst14_{d:05}", "all", (f"eval_{q:04}", f"quesst14_{d:05}"), 0, 1.2345 + q - d)
        for q in range(counts["test/query"]) for d in range(counts["test/document"])
    ]  # fmt: skip
    (tmp_path / "apc/qbe").mkdir(parents=True)
    write_result(tmp_path / "apc/qbe", result, said)
    bundle = open_bundle(pack_bundle(tmp_path / "apc"))
    assert len(bundle.entries["qbe"].predictions) == 336_444
    assert work_of(bundle).items * 5 < MOST_PREDICTIONS
