"""Results as Markdown: one line for each metric and upstream; names are escaped."""

from __future__ import annotations

import io
from typing import Any

import doubles
import pytest
from rich.console import Console

from superbench.results import Result, tables


def made(name: str, value: float, **more: Any) -> Result:
    return doubles.result(
        name, model={"params": 1_151_648},
        **{
            "scores": {"accuracy": doubles.score_facts(value, ci=[value - 3, value + 3])}, "sweep": [],
            "chosen": {"all": {"lr": 0.001, "seed": 0, "setting": {}}},
            "data": {"fingerprint": "f", "items": {"train": 900, "test": 1_096}}, **more,
        },
    )  # fmt: skip


def test_a_line_says_task_version_metric_value_size_rate_and_parameters() -> None:
    lines = tables.as_markdown([made("apc", 90.0), made("low|er_one", 60.0), made("near", 86.0)]).splitlines()
    assert "| Keyword spotting | 1 | accuracy ↑ | apc | **90.0 ±3.0** | 1,096 | 1e-3 | 1,151,648 |" in lines
    assert any(r"| low\|er\_one | 60.0 ±3.0 |" in line for line in lines)
    assert any("| near | 86.0 ±3.0≈ |" in line for line in lines)
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 5
    assert {line.replace(r"\|", "").count("|") for line in table} == {9}


def test_runs_that_depart_from_their_recipe_are_marked_and_explained() -> None:
    text = tables.as_markdown([made("apc", 90.0), made("short", 95.0, deviations=["--max-steps 10"])])
    assert "95.0 ±3.0†" in text
    assert "†: deviates from the recipe" in text


def test_what_the_reader_of_a_corpus_remarked_stands_once_below_the_table() -> None:
    data = {"fingerprint": "f", "items": {"test": 9}, "passport": {"remarks": ["all_of it was upper-cased"]}}
    results = [made("apc", 90.0, data=data), made("tera", 80.0, data=data)]
    assert tables.as_markdown(results).endswith("\n\nks: all\\_of it was upper-cased.\n")
    console = Console(width=120, file=io.StringIO())
    console.print(tables.terminal(results))
    assert console.file.getvalue().count("ks: all_of it was upper-cased") == 1  # type: ignore[attr-defined]


def test_a_reason_for_a_score_at_chance_is_said_once_for_all_rows_of_a_model() -> None:
    rows = [
        made("fbank", 8.0, notes=["at chance: its mean is zero"]),
        made("fbank", 9.0, notes=["at chance: its mean is zero"]),
    ]
    text = tables.as_markdown([*rows, made("apc", 90.0)])
    assert text.count("fbank, KS: at chance: its mean is zero") == 1


def test_scores_over_several_seeds_stand_below_the_table() -> None:
    over = {"values": {"0": 90.0, "1": 92.0}, "mean": 91.0, "std": 1.41, "ci": [88.0, 94.0], "ci_method": "m"}
    scored = made("apc", 90.0, scores={"accuracy": doubles.score_facts(90.0, ci=[87.0, 93.0], over_seeds=over)})
    text = tables.as_markdown([scored, made("tera", 80.0)])
    assert "**90.0 ±3.0**" in text  # the score of the lowest seed
    assert "seeds 0, 1: accuracy has the mean 91, standard deviation 1.4, 95 % interval 88 to 94" in text
    assert "over\\_seeds" not in text
    assert "over_seeds" not in made("tera", 80.0).to_json()  # results of one seed are as they were


@pytest.mark.parametrize(
    ("data", "size"),
    [
        ({"items": {"test": 320}, "passport": {"trials": {"all/dev": 5, "all/test": 37_720}}}, "37,720 trials"),
        ({"items": {"fold1/test": 10, "fold2/test": 12, "fold1/train": 99}}, "22"),
    ],
)
def test_the_size_of_a_test_is_its_trials_or_all_items_of_all_folds(data: dict[str, Any], size: str) -> None:
    assert tables.size_of_test(made("a", 1.0, data={"fingerprint": "f", **data})) == size


def test_where_nothing_is_learned_there_is_no_learning_rate() -> None:
    assert tables.chosen_rate(made("a", 1.0, chosen={"all": {"lr": None, "setting": {"layer": 3}}})) == "–"
    assert tables.chosen_rate(made("a", 1.0, chosen={"f1": {"lr": 0.1}, "f2": {"lr": 0.0003}})) == "3e-4, 1e-1"
