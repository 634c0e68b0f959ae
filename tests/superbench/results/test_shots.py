"""Few-shot results: rows at one K, the chance-centred mean, places and ties, the rule of `no sound`, tables, files."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from superbench.contract import Prediction
from superbench.errors import BadResult
from superbench.plugins import task
from superbench.results import Result, find_results, read_predictions, shots, tables
from superbench.results.checkpoints import series_of
from superbench.results.diff.compare import compare
from superbench.results.diff.sides import side
from superbench.results.draws import by_episode, interval_over_draws, mean_replicates, paired_replicates
from superbench.results.export import predict
from superbench.results.grouping import Known, grouped
from superbench.results.intervals import jackknife_variance
from superbench.results.official import corpora_of
from superbench.results.rank_correlation import rank_correlation
from superbench.results.rows import Column, Group, columns, key_of

Folder = Callable[..., Path]


def result_of(folder: Path, protocol: str = "few-shot") -> Result:
    return Result.model_validate_json((folder / "ks" / protocol / "result.json").read_text())


def changed(result: Result, **more: Any) -> Result:
    return Result.model_validate(result.model_dump(mode="json", by_alias=True) | more)


PAIRED: dict[bytes, dict[str, Any]] = {}
"""Replicates of every metric, by the file of predictions that they are of: computing them takes longer than each test."""


def with_replicates(folder: Path, result: Result) -> Known:
    file = folder / "ks" / "few-shot" / "predictions.jsonl.gz"
    content = file.read_bytes()
    if content not in PAIRED:
        score = task("ks").score
        draws = by_episode(read_predictions(file))
        drawn = {k: [(rows, score(rows, {})["accuracy"]) for rows in of_k] for k, of_k in draws.items()}
        PAIRED[content] = {
            shots.at_k("accuracy", k): paired_replicates(of_k, mean_replicates(of_k)) for k, of_k in drawn.items()
        }
    return Known(PAIRED[content], "", True, result.upstream.name)


@pytest.fixture
def group(a_shot_folder: Folder) -> Group:
    folders = [a_shot_folder(name, right) for name, right in (("good", 30), ("near", 30), ("poor", 6))]
    results = [result_of(folder) for folder in folders]
    known = {key_of(one): with_replicates(folder, one) for folder, one in zip(folders, results, strict=True)}
    (found,) = grouped(results, known)
    return found


# ---------------------------------------------------------------- formulas


@pytest.mark.parametrize(
    ("metric", "unit", "higher", "score", "floor", "centred"),
    [
        ("accuracy", "%", True, 100.0, 25.0, 1.0),
        ("accuracy", "%", True, 10.0, 25.0, -0.2),
        ("eer", "%", False, 20.0, 50.0, 0.6),
        ("eer", "%", False, 60.0, 50.0, -0.2),
        ("der", "%", False, 20.0, 40.0, 0.5),
        ("per", "%", False, 130.0, 100.0, 0.0),
        ("wer", "%", False, 80.0, 100.0, 0.2),
        ("mtwv", "fraction", True, 0.07, 0.0, 0.07),
    ],
)
def test_a_score_is_centred_on_its_floor(
    metric: str, unit: Any, higher: bool, score: float, floor: float, centred: float
) -> None:
    column = Column("x", metric, "", unit, higher, "content", True, None, "")
    assert shots.centred(score, floor, column) == pytest.approx(centred)


def test_a_floor_that_is_the_best_value_gives_no_centred_score() -> None:
    assert math.isnan(shots.centred(50.0, 100.0, Column("x", "accuracy", "", "%", True, "content", True, None, "")))


@pytest.mark.slow
def test_a_row_with_a_hole_has_no_mean(group: Group) -> None:
    first = group.rows[0]
    other = replace(group.rows[1], results={**group.rows[1].results, "er": _of_task(group.rows[1].results["ks"], "er")})
    wide = replace(group, rows=(first, other))
    view = shots.at(wide, 5, columns())
    means = shots.means_at(view, 5, columns())
    assert {row.name: id(row) in means for row in view.rows} == {"good": False, "near": True}


def _of_task(result: Result, name: str) -> Result:
    return changed(result, task={**result.task.model_dump(), "name": name})


# ---------------------------------------------------------------- places


@pytest.mark.slow
def test_rows_at_k_are_ranked_over_the_same_items_and_draws_and_equal_ones_are_tied(group: Group) -> None:
    view = shots.at(group, 5, columns())
    means = shots.means_at(view, 5, columns())
    places = shots.standings_of_means(view, 5, columns(), means).places
    named = {view.rows[i].name: (standing.place, standing.tied, standing.sure) for i, standing in places.items()}
    assert named == {"good": (1, 1, True), "near": (1, 1, True), "poor": (3, 0, True)}


@pytest.mark.slow
def test_rows_with_other_draws_are_not_paired(group: Group, a_shot_folder: Folder) -> None:
    few = a_shot_folder("few", 12, shots=((1, 3), (5, 3), ("all", 1)))
    result = result_of(few)
    rows = [*(row.results["ks"] for row in group.rows), result]
    known = {key_of(row.results["ks"]): Known(_replicates(row), "", True) for row in group.rows}
    (wide,) = grouped(rows, known | {key_of(result): with_replicates(few, result)})
    view = shots.at(wide, 5, columns())
    means = shots.means_at(view, 5, columns())
    places = shots.standings_of_means(view, 5, columns(), means).places
    assert not {view.rows[i].name: standing.sure for i, standing in places.items()}["few"]


def _replicates(row: Any) -> dict[str, Any]:
    return {key.partition(".")[2]: drawn for key, drawn in row.replicates.items()}


@pytest.mark.slow
def test_a_row_that_does_not_beat_no_sound_by_its_interval_has_no_place(a_shot_folder: Folder) -> None:
    loud = result_of(a_shot_folder("loud", 30, protocol="in-context", controls={"no sound": 20.0}), "in-context")
    deaf = result_of(a_shot_folder("deaf", 34, protocol="in-context", controls={"no sound": 70.0}), "in-context")
    (group,) = grouped([loud, deaf])
    view = shots.at(group, 1, columns())
    means = shots.means_at(view, 1, columns())
    places = shots.standings_of_means(view, 1, columns(), means).places
    assert {view.rows[i].name for i in places} == {"loud"}
    assert {row.name: row.cells["ks.accuracy"].unplaced for row in view.rows} == {"loud": "", "deaf": "not above no sound"}
    text = tables.as_markdown([loud, deaf])
    assert "| upstream | metric | K = 1 | K = 5 | K = all | floor | no sound |" in text
    assert "†: is not above no sound by its interval, not ranked" in text
    assert "| deaf | KS accuracy ↑ | 71.7 ±" in text
    assert "| 70.0 |" in text


def test_few_shot_in_context_and_probes_share_no_group(a_shot_folder: Folder, a_folder: Folder) -> None:
    a_folder("apc", 40)
    a_shot_folder("apc", 20, protocol="in-context")
    root = a_shot_folder("apc", 20).parent
    groups = grouped(tables.load_results(root))
    assert sorted(group.protocol for group in groups) == ["few-shot", "in-context", "mini"]
    assert not any(group.scored for group in groups)


# ---------------------------------------------------------------- intervals


def test_replicates_of_few_groups_contain_the_variance_over_the_draws() -> None:
    right = lambda n, draw: (n * 7 + 3 * draw) % 10 < 5 + draw % 3  # noqa: E731
    predictions = [
        Prediction(str(n), "all", (f"s{n % 6}",), "yes", "yes" if right(n, draw) else "no", k=1, draw=draw)
        for draw in range(5)
        for n in range(60)
    ]
    draws = [(rows, task("ks").score(rows, {})["accuracy"]) for rows in by_episode(predictions)[1]]
    drawn = paired_replicates(draws, mean_replicates(draws))
    low, high, _ = interval_over_draws(draws)
    assert drawn.folds is not None
    assert drawn.freedom == 5
    from scipy.special import stdtrit

    half = float(stdtrit(5, 0.975)) * jackknife_variance(drawn.values, drawn.folds) ** 0.5
    assert half == pytest.approx((high - low) / 2)


@pytest.mark.slow
def test_a_rank_correlation_is_that_of_scipy_and_its_interval_contains_it() -> None:
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    first = random.normal(size=(12, 3))
    second = first + random.normal(size=(12, 3))
    found = rank_correlation(first, second)
    assert found is not None
    assert found.interval is not None
    assert found.value == pytest.approx(spearmanr(first.mean(1), second.mean(1)).statistic)
    assert found.interval[0] < found.value < found.interval[1]
    assert rank_correlation(first[:2], second[:2]) is None
    assert rank_correlation(np.ones((5, 1)), second[:5, :1]) is None
    few = rank_correlation(first[:3], second[:3])
    assert few is not None
    assert few.interval is None


@pytest.mark.slow
def test_checkpoints_of_one_model_are_a_series_and_models_with_numbers_are_not(group: Group) -> None:
    named = lambda *names: [replace(group.rows[0], name=name) for name in names]  # noqa: E731
    rows = named("apc-1000", "apc-2k", "apc-40000", "hubert-960", "tera")
    assert [series_of(rows).get(id(row)) for row in rows] == [("apc", 1000), ("apc", 2000), ("apc", 40000), None, None]
    rows = [replace(row, params=number) for number, row in enumerate(named("v-1", "v-2", "v-3"), start=1)]
    assert series_of(rows) == {}  # of different sizes


# ---------------------------------------------------------------- files, tables, comparisons


def test_results_without_training_are_found_below_their_task_and_replaced_ones_only_by_their_own_folder(
    a_folder: Folder, a_shot_folder: Folder
) -> None:
    a_folder("apc", 40)
    root = a_shot_folder("apc", 20).parent
    old = root / "apc" / "ks" / "few-shot" / "replaced" / ("a" * 16)
    old.mkdir(parents=True)
    shutil.copy(root / "apc" / "ks" / "few-shot" / "result.json", old)
    both = [root / "apc" / "ks", root / "apc" / "ks" / "few-shot"]
    assert [find_results(root / where) for where in ("", "apc", "apc/ks")] == [both, both, both]
    assert find_results(both[1]) == [both[1]]
    assert find_results(old) == [old]


@pytest.mark.slow
def test_every_format_has_a_column_for_k(a_shot_folder: Folder) -> None:
    results = [result_of(a_shot_folder(name, right)) for name, right in (("apc", 20), ("tera", 12))]
    assert "| apc | KS accuracy ↑ | **42.5 ±" in tables.as_markdown(results)
    lines = tables.as_csv(results).splitlines()
    assert lines[0].endswith(",k,draws,floor")
    assert len(lines) == 1 + 2 * 3
    assert lines[1].startswith("few-shot,apc,ks,accuracy,42.5")
    assert lines[1].endswith(",1,10,8.333333333333334")
    assert r"upstream & metric & K = 1 & K = 5 & K = all & floor \\" in tables.as_latex(results)
    assert [entry["k"] for entry in tables.plain(results)[0]["shots"]] == [1, 5, "all"]
    console = Console(width=120, file=io.StringIO())
    console.print(tables.terminal(results))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.index("apc · protocol few-shot") < shown.index("tera · protocol few-shot")
    assert "mean above chance, %" in shown
    assert "37.3" in shown


def test_a_csv_of_trained_heads_leaves_the_columns_of_k_empty(a_folder: Folder) -> None:
    (line,) = tables.as_csv(tables.load_results(a_folder("apc", 40))).splitlines()[1:]
    assert line.endswith(",,,")


@pytest.mark.slow
def test_two_results_are_compared_at_every_k_over_the_same_draws(a_folder: Folder, a_shot_folder: Folder) -> None:
    for name, right in (("apc", 20), ("tera", 12)):
        a_folder(name, right)
        a_shot_folder(name, right)
    root = a_shot_folder("apc", 20).parent
    probes, few = compare(side(str(root / "apc")), side(str(root / "tera")), ["ks"])
    assert (probes.task, few.task, few.unpaired) == ("ks", "ks/few-shot", "")
    assert [metric.name for metric in few.metrics] == ["accuracy at K = 1", "accuracy at K = 5", "accuracy at K = all"]
    first = few.metrics[0].paired
    assert first is not None
    assert first.difference == pytest.approx(-100 * 8 / 48)
    assert first.verdict == "a"
    assert "10 draws" in first.method
    (alone,) = compare(side(str(root / "apc")), side(str(root / "tera")), ["ks/few-shot"])
    assert alone.task == "ks/few-shot"


@pytest.mark.slow
def test_results_with_other_draws_are_not_paired(a_shot_folder: Folder) -> None:
    a = a_shot_folder("apc", 20)
    b = a_shot_folder("tera", 20, shots=((1, 3), ("all", 1)))
    (found,) = compare(side(str(a)), side(str(b)))
    assert found.unpaired.startswith("they have different draws of the examples")
    assert [metric.paired is not None for metric in found.metrics] == [False, False, True]


def test_an_export_leaves_few_shot_results_out_and_says_so(tmp_path: Path, a_folder: Folder, a_shot_folder: Folder) -> None:
    alone = a_shot_folder("tera", 20)
    with pytest.raises(BadResult, match="only results of protocols that train nothing"):
        predict(alone, tmp_path / "none")
    a_folder("apc", 40)
    a_shot_folder("apc", 20)
    exported = predict(alone.parent / "apc", tmp_path / "out")
    assert exported.tasks == ("ks",)
    assert any(line.startswith("Left out: ks/few-shot.") for line in exported.warnings)


def test_corpora_are_told_by_the_passport_and_by_the_rules_that_prepared_them(a_shot_folder: Folder) -> None:
    result = result_of(a_shot_folder("apc", 20))
    miniature = {**result.data.model_dump(), "passport": {"miniature": "seed 23"}}
    assert corpora_of(changed(result, data=miniature)) == "miniature"
    counts = dict(task("ks").card.counts.items())
    whole = {**result.data.model_dump(), "passport": {"counts": counts}}
    assert corpora_of(changed(result, data=whole, environment={"prepared": "superb"})) == "published"
    assert corpora_of(changed(result, data=whole)) == "other"  # prepared by the rules of mini
    assert corpora_of(changed(result, environment={"prepared": "superb"})) == "other"  # no counts


def test_schema_1_has_no_trace_of_schema_2(a_folder: Folder) -> None:
    record = json.loads((a_folder("apc", 40) / "ks" / "result.json").read_text())
    assert record["schema"] == 1
    assert "shots" not in record
