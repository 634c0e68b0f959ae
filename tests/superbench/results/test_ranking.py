"""The board's scores and ranks against the published table, the groups of comparable rows, and the tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from superbench import plugins
from superbench.board.page.contents import contents
from superbench.errors import BadResult
from superbench.results import Result, tables
from superbench.results.grouping import grouped
from superbench.results.published import published, records, superseded
from superbench.results.ranking import leaders, rank_points, ranks, superb_score
from superbench.results.rows import Cell, Column, Group, Row, columns

Make = Callable[..., Result]

CHECKED = {  # protocol of SUPERB, 3.5: score and rank points within exactly these 20 rows
    "FBANK": (0.02, 1.55), "PASE+": (148.62, 2.45), "APC": (392.31, 5.80), "VQ-APC": (376.61, 5.75), "NPC": (386.45, 5.40),
    "Mockingjay": (53.72, 1.15), "TERA": (149.92, 3.50), "modified CPC": (278.20, 5.30), "wav2vec": (528.92, 8.90),
    "vq-wav2vec": (421.89, 7.00), "wav2vec 2.0 Base": (818.11, 11.85), "wav2vec 2.0 Large": (913.58, 14.80),
    "HuBERT Base": (941.04, 14.45), "HuBERT Large": (918.59, 15.10), "DeCoAR 2.0": (721.74, 10.50),
    "DistilHuBERT": (717.39, 11.10), "FaST-VGS+": (809.12, 12.90), "WavLM Base": (1018.79, 15.90),
    "WavLM Base+": (1106.25, 17.70), "WavLM Large": (1144.54, 18.90),
}  # fmt: skip


@pytest.fixture(scope="module")
def over() -> list[Column]:
    return columns()


# ---------------------------------------------------------------- arithmetic


def test_score_and_rank_points_are_those_of_the_leaderboard(over: list[Column]) -> None:
    rows = [row for row in published(over) if row.name in CHECKED]
    assert len(rows) == len(CHECKED)
    points = rank_points(rows, over)
    for row in rows:
        score, place = CHECKED[row.name]
        assert superb_score(row.cells, over) == pytest.approx(score, abs=0.006), row.name
        assert points[id(row)] == pytest.approx(place), row.name
    places = ranks(rows, over)
    expected = sorted(CHECKED, key=lambda name: -CHECKED[name][1])
    assert (
        sorted((row.name for row in rows), key=lambda name: next(places[id(row)] for row in rows if row.name == name))
        == expected
    )


def test_published_rows_are_one_per_upstream_and_none_is_superseded(over: list[Column]) -> None:
    rows = published(over)
    assert len({row.name for row in rows}) == len(rows) == 66
    assert "superb_prelim2021" not in {row.source for row in rows}
    others = superseded(over)
    assert len(others) == len(records()) - 66
    assert all(row.superseded for row in others)
    assert "superb_prelim2021" in {row.source for row in others}


def test_a_score_with_a_metric_missing_is_none(over: list[Column]) -> None:
    row = next(row for row in published(over) if row.name == "HuBERT Base")
    cells = {key: cell for key, cell in row.cells.items() if key != "sf.slot_value_cer"}
    assert superb_score(row.cells, over) is not None
    assert superb_score(cells, over) is None


def test_rows_meet_only_where_protocol_and_data_agree(a_result: Make) -> None:
    groups = grouped(
        [a_result("a", 30), a_result("b", 20), a_result("c", 40, fingerprint="other"), a_result("d", 40, protocol="superb")]
    )
    assert sorted(sorted(row.name for row in group.rows) for group in groups) == [["a", "b"], ["c"], ["d"]]


def test_overlapping_intervals_tie_with_the_best_and_shortened_runs_never_lead(over: list[Column]) -> None:
    column = next(column for column in over if column.key == "ks.accuracy")
    rows = [
        Row("best", "local", "pretrained", {column.key: Cell(90.0, (85.0, 95.0))}),
        Row("near", "local", "pretrained", {column.key: Cell(84.0, (80.0, 86.0))}),
        Row("far", "local", "pretrained", {column.key: Cell(60.0, (55.0, 65.0))}),
        Row("short", "local", "pretrained", {column.key: Cell(99.0, (98.0, 100.0), None, ("at most 10 updates",))}),
    ]
    best, tied = leaders(rows, column)
    assert [row.name for row in rows if id(row) in best] == ["best"]
    assert [row.name for row in rows if id(row) in tied] == ["near"]
    assert {row.name for row in rows if id(row) in ranks(rows, over)} == {"best", "near", "far"}


def test_an_untrained_control_is_known_by_its_spec(a_result: Make) -> None:
    (group,) = grouped([a_result("x", 30, spec="apc:untrained"), a_result("y", 30, spec="apc@weights.safetensors")])
    assert {row.name: row.kind for row in group.rows} == {"x": "untrained", "y": "pretrained"}


# ---------------------------------------------------------------- tables


def test_the_page_holds_both_groups_and_only_real_numbers(over: list[Column], a_result: Make) -> None:
    groups = [*grouped([a_result("apc", 40), a_result("fbank", 20)]), Group("published", tuple(published(over)))]
    data = contents(groups, over)
    json.dumps(data, allow_nan=False)
    assert [len(group["rows"]) for group in data["groups"]] == [2, 66]
    assert [row["name"] for row in data["groups"][0]["rows"]] == ["apc", "fbank"]
    assert data["groups"][0]["rows"][0]["cells"]["ks.accuracy"]["best"]
    assert data["groups"][0]["rows"][0]["details"]["ks"]["sweep"]["chosen"] == [0]


def test_miniature_rows_have_ranks_and_no_superb_score(over: list[Column]) -> None:
    cells = {column.key: Cell(50.0) for column in over}
    better = cells | {"ks.accuracy": Cell(60.0)}
    rows = (Row("worse", "local", "pretrained", cells), Row("better", "local", "pretrained", better))
    found = contents([Group("mini", rows), Group("superb", rows)], over)["groups"]
    assert [(row["name"], row["rank"], row["superb"]) for row in found[0]["rows"]] == [("better", 1, None), ("worse", 2, None)]
    assert all(row["superb"] is not None for row in found[1]["rows"])
    assert "no SUPERB score" in found[0]["note"]


def test_the_official_recipe_on_a_miniature_has_no_superb_score(over: list[Column], a_result: Make) -> None:
    def groups(miniature: str | None) -> list[dict]:
        passport = {"lists": {"test": "d"}, "miniature": miniature, "counts": dict(plugins.task("ks").card.counts)}
        data = {"fingerprint": "f", "items": {"test": 96}, "passport": passport}
        return contents(grouped([a_result("apc", 40, protocol="superb", data=data)]), over)["groups"]  # type: ignore[no-any-return]

    (small,), (real,) = groups("miniature corpora, seed 0"), groups(None)
    assert (small["scored"], small["title"]) == (False, "Official recipes, on miniature corpora")
    assert (real["scored"], real["title"]) == (True, "Official protocol, run here")
    assert "The corpora are synthetic miniatures." in small["note"]
    assert "The corpora are not synthetic miniatures." in real["note"]


def test_missing_tasks_count_nothing_and_are_said(over: list[Column]) -> None:
    full = Row("full", "local", "pretrained", {column.key: Cell(50.0) for column in over})
    part = Row(
        "part", "local", "pretrained", {key: cell for key, cell in full.cells.items() if not key.startswith(("sf", "er"))}
    )
    (group,) = contents([Group("superb", (full, part))], over)["groups"]
    assert [(row["name"], row["missing"], row["superb"] is None) for row in group["rows"]] == [
        ("full", [], False), ("part", ["er", "sf"], True),
    ]  # fmt: skip
    assert "A missing task adds no points" in group["note"]


def test_other_data_stand_in_a_group_of_their_own_and_the_reason_with_them(over: list[Column], a_result: Make) -> None:
    data = contents(grouped([a_result("a", 30), a_result("b", 20), a_result("c", 40, fingerprint="other")]), over)
    assert [(group["title"], group["reason"]) for group in data["groups"]] == [
        ("Miniature corpora", ""),
        (
            "Miniature corpora (other data)",
            "On other data than the first table of this protocol (KS other, there f): not ranked together.",
        ),
    ]


def test_one_model_on_two_corpora_is_two_rows(a_result: Make) -> None:
    groups = grouped([a_result("a", 30), a_result("a", 40, fingerprint="other")])
    assert [[row.name for row in group.rows] for group in groups] == [["a"], ["a"]]


def test_formats_tell_the_same_story(a_result: Make) -> None:
    results = [a_result("apc", 40), replace_name(a_result("low_pass", 20))]
    table = tables.as_csv(results).splitlines()
    assert table[1].startswith("mini,apc,ks,accuracy,83.33")
    assert [one["upstream"]["name"] for one in tables.plain(results)] == ["apc", "low_pass"]
    latex = tables.as_latex(results)
    assert r"\textbf{83.3" in latex
    assert r"low\_pass" in latex


def replace_name(result: Result) -> Result:
    return result.model_copy(update={"deviations": ["at most 10 updates"]})


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadResult, match="no result"):
        tables.load_results(tmp_path)


def test_a_dagger_marks_a_shortened_run(over: list[Column], a_result: Make) -> None:
    column = next(column for column in over if column.key == "ks.accuracy")
    (group,) = grouped([replace_name(a_result("short", 20))])
    assert tables.cell_text(replace(group.rows[0]), column).endswith("†")
