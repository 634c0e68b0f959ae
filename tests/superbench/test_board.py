"""The board's arithmetic against the published table, and what it takes in and what it refuses."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from superbench import report
from superbench.board.bundle import open_bundle, pack_bundle
from superbench.board.contents import contents
from superbench.board.published import published
from superbench.board.ranking import Cell, Column, Group, Row, columns, grouped, leaders, rank_points, ranks, superb_score
from superbench.board.storage import Board
from superbench.contract import Prediction
from superbench.errors import BadResult, CommandError
from superbench.probing.intervals import interval
from superbench.registry import task
from superbench.results import Result, write_result

CHECKED = {  # protocol of SUPERB, 3.5: score and rank points within exactly these 20 rows
    "FBANK": (0.02, 1.55), "PASE+": (148.62, 2.45), "APC": (392.31, 5.80), "VQ-APC": (376.61, 5.75), "NPC": (386.45, 5.40),
    "Mockingjay": (53.72, 1.15), "TERA": (149.92, 3.50), "modified CPC": (278.20, 5.30), "wav2vec": (528.92, 8.90),
    "vq-wav2vec": (421.89, 7.00), "wav2vec 2.0 Base": (818.11, 11.85), "wav2vec 2.0 Large": (913.58, 14.80),
    "HuBERT Base": (941.04, 14.45), "HuBERT Large": (918.59, 15.10), "DeCoAR 2.0": (721.74, 10.50),
    "DistilHuBERT": (717.39, 11.10), "FaST-VGS+": (809.12, 12.90), "WavLM Base": (1018.79, 15.90),
    "WavLM Base+": (1106.25, 17.70), "WavLM Large": (1144.54, 18.90),
}  # fmt: skip
WORDS = ("yes", "no", "up", "down")


@pytest.fixture(scope="module")
def over() -> list[Column]:
    return columns()


def made(name: str, right: int, *, protocol: str = "mini", fingerprint: str = "f", spec: str = "apc@x", **more: Any) -> Result:
    """A KS result in which `right` of 48 speakers get their two words right."""
    score = task("ks").score(said(right), {})["accuracy"]
    low, high, method = interval(said(right), score)
    facts = {
        "value": score.value, "unit": "%", "higher_is_better": True, "ci": [low, high], "ci_method": method,
        "counts": dict(score.counts),
    }  # fmt: skip
    record = {
        "schema": 1, "task": {"name": "ks", "version": 1, "protocol": protocol},
        "upstream": {"name": name, "revision": "r", "params": 10, "hop": 160, "layers": 1, "dim": 4},
        "scores": {"accuracy": facts}, "primary": "accuracy",
        "sweep": [{"fold": "all", "lr": 0.1, "seed": 0, "dev": 50.0, "steps": 10}],
        "chosen": {"all": {"lr": 0.1, "seed": 0, "step": 10, "setting": {}}},
        "data": {"fingerprint": fingerprint, "items": {"test": 96}}, "environment": {"spec": spec},
        "seconds": {"extract": 1, "train": 1, "evaluate": 1}, "predictions": "predictions.jsonl.gz", **more,
    }  # fmt: skip
    return Result.model_validate(record)


def said(right: int) -> list[Prediction]:
    return [
        Prediction(f"{word}/{n}.wav", "all", (f"s{n}",), word, word if n < right else "stop")
        for n in range(48)
        for word in WORDS[:2]
    ]


def folder(root: Path, name: str, right: int, **more: Any) -> Path:
    place = root / name
    (place / "ks").mkdir(parents=True)
    write_result(place / "ks", made(name, right, **more), said(right))
    return place


# ---------------------------------------------------------------- arithmetic


def test_score_and_rank_points_are_those_of_the_leaderboard(over: list[Column]) -> None:
    rows = [row for row in published(over) if row.name in CHECKED]
    assert len(rows) == len(CHECKED)
    points = rank_points(rows, over)
    for row in rows:
        score, place = CHECKED[row.name]
        assert superb_score(row.cells, over) == pytest.approx(score, abs=0.006), row.name
        assert points[id(row)] == pytest.approx(place), row.name


def test_published_rows_are_one_per_upstream_and_none_is_superseded(over: list[Column]) -> None:
    rows = published(over)
    assert len({row.name for row in rows}) == len(rows) == 66
    assert "superb_prelim2021" not in {row.source for row in rows}


def test_a_score_with_a_metric_missing_is_none(over: list[Column]) -> None:
    row = next(row for row in published(over) if row.name == "HuBERT Base")
    cells = {key: cell for key, cell in row.cells.items() if key != "sf.slot_value_cer"}
    assert superb_score(row.cells, over) is not None
    assert superb_score(cells, over) is None


def test_rows_meet_only_where_protocol_and_data_agree() -> None:
    groups = grouped([made("a", 30), made("b", 20), made("c", 40, fingerprint="other"), made("d", 40, protocol="superb")])
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


def test_an_untrained_control_is_known_by_its_spec() -> None:
    (group,) = grouped([made("x", 30, spec="apc:untrained"), made("y", 30, spec="apc@weights.safetensors")])
    assert {row.name: row.kind for row in group.rows} == {"x": "untrained", "y": "pretrained"}


# ---------------------------------------------------------------- bundles and boards


def test_the_same_results_make_the_same_bundle(tmp_path: Path) -> None:
    place = folder(tmp_path, "apc", 30)
    assert pack_bundle(place) == pack_bundle(place)
    bundle = open_bundle(pack_bundle(place))
    assert (bundle.upstream, list(bundle.entries), len(bundle.entries["ks"].predictions)) == ("apc", ["ks"], 96)


def rezipped(data: bytes, change: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            if name not in change:
                new.writestr(name, old.read(name))
        for name, content in change.items():
            new.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ks/result.json": b"{}"}, "changed after it was made"),
        ({"../evil.json": b"{}"}, "files that no bundle has"),
        ({"sid/result.json": b"{}"}, "manifest and its files differ"),
        ({"manifest.json": b"{}"}, "no usable manifest"),
    ],
)
def test_a_bundle_that_was_tampered_with_is_refused(tmp_path: Path, change: dict[str, bytes], reason: str) -> None:
    data = pack_bundle(folder(tmp_path, "apc", 30))
    with pytest.raises(BadResult, match=reason):
        open_bundle(rezipped(data, change))


def test_a_file_that_is_no_zip_is_refused() -> None:
    with pytest.raises(BadResult, match="not a bundle"):
        open_bundle(b"hello")


def test_a_claim_that_its_predictions_do_not_support_is_refused_and_nothing_is_added(tmp_path: Path) -> None:
    folder(tmp_path / "results", "honest", 30)
    boast = folder(tmp_path / "results", "boast", 30) / "ks" / "result.json"
    record = json.loads(boast.read_text())
    record["scores"]["accuracy"]["value"] = 99.0
    boast.write_text(json.dumps(record))
    board = Board(tmp_path / "board")
    with pytest.raises(BadResult, match=r"boast: ks: accuracy is 62\.5000 by its predictions, 99\.0000 was claimed"):
        board.submit(tmp_path / "results")
    with pytest.raises(CommandError, match="no board"):
        board.results()


def test_a_board_keeps_the_latest_of_an_upstream_and_takes_the_same_bundle_once(tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    assert [receipt.fresh for receipt in board.submit(folder(tmp_path / "first", "apc", 20))] == [True]
    assert [receipt.fresh for receipt in board.submit(tmp_path / "first")] == [False]
    board.submit(folder(tmp_path / "second", "apc", 40))
    (result,) = board.results()
    assert result.scores["accuracy"].value == pytest.approx(100 * 40 / 48)
    assert len(list((tmp_path / "board" / "bundles").glob("*.zip"))) == 2


def test_a_board_address_that_is_no_folder_says_so() -> None:
    with pytest.raises(CommandError, match="folders only"):
        Board("https://example.org/board")


# ---------------------------------------------------------------- tables


def test_the_page_holds_both_groups_and_only_real_numbers(tmp_path: Path, over: list[Column]) -> None:
    groups = [*grouped([made("apc", 40), made("fbank", 20)]), Group("published", tuple(published(over)))]
    data = contents(groups, over)
    json.dumps(data, allow_nan=False)
    assert [len(group["rows"]) for group in data["groups"]] == [2, 66]
    assert [row["name"] for row in data["groups"][0]["rows"]] == ["apc", "fbank"]
    assert data["groups"][0]["rows"][0]["cells"]["ks.accuracy"]["best"]
    assert data["groups"][0]["rows"][0]["details"]["ks"]["sweep"]["chosen"] == [0]


def test_formats_tell_the_same_story() -> None:
    results = [made("apc", 40), replace_name(made("low_pass", 20))]
    table = report.as_csv(results).splitlines()
    assert table[1].startswith("mini,apc,ks,accuracy,83.33")
    assert [one["upstream"]["name"] for one in json.loads(report.as_json(results))] == ["apc", "low_pass"]
    latex = report.as_latex(results)
    assert r"\textbf{83.3" in latex
    assert r"low\_pass" in latex


def replace_name(result: Result) -> Result:
    return result.model_copy(update={"deviations": ["at most 10 updates"]})


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadResult, match="no result"):
        report.collect([tmp_path])


def test_a_dagger_marks_a_shortened_run(over: list[Column]) -> None:
    column = next(column for column in over if column.key == "ks.accuracy")
    (group,) = grouped([replace_name(made("short", 20))])
    assert report.cell_text(replace(group.rows[0]), column).endswith("†")
