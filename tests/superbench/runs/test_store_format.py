"""`--store-format int8`: another job, a deviation of tasks that read frames, and the same result when it is resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from superbench import plugins
from superbench.contract import Task
from superbench.contract.corpora import Corpora
from superbench.errors import CommandError
from superbench.features.store import Store
from superbench.results import Result
from superbench.results.grouping import grouped
from superbench.runs.destination import label_of
from superbench.runs.job import perform
from superbench.runs.options import Options
from superbench.system.progress import Silence
from tests.doubles import Cut, Scissors

INT8 = Options("mini", store_format="int8", label="--store-format-int8")
DEVIATION = "frames in 8 bits per value in place of half precision"
Run = Callable[..., Any]


@pytest.fixture
def run(tones: ModuleType, tone_corpora: Path, tmp_path: Path) -> Run:
    def performed(task: Task, options: Options = INT8, out: str = "out", reporter: Any = None) -> Any:
        model = plugins.loaded(plugins.parse("spectrum"), tones.Spectrum(), "cpu")
        with Store(tmp_path / "store") as store:
            return perform(task, model, Corpora(tone_corpora), store, tmp_path / out, options, {}, reporter or Silence())

    return performed


@pytest.mark.slow
def test_frames_in_eight_bits_are_another_job_and_a_deviation(run: Run, tones: ModuleType) -> None:
    half: Result = run(tones.TONES, Options("mini"), out="half").result
    small: Result = run(tones.TONES).result
    assert half.deviations == []
    assert small.deviations == [DEVIATION]
    assert (half.environment.get("dtype"), small.environment["dtype"]) == (None, "int8")
    assert small.environment["job"] != half.environment["job"]
    assert small.data.fingerprint == half.data.fingerprint
    assert abs(small.scores["accuracy"].value - half.scores["accuracy"].value) <= 10
    again = run(tones.TONES)
    assert again.found
    assert again.result.scores == small.scores
    assert [cell.ranked for group in grouped([small]) for row in group.rows for cell in row.cells.values()] == [False]


@pytest.mark.slow
def test_a_task_that_reads_means_does_not_deviate(run: Run, tones: ModuleType) -> None:
    result: Result = run(tones.TONE).result
    assert result.deviations == []
    assert "dtype" not in result.environment
    assert run(tones.TONE, Options("mini"), out="usual").result.scores == result.scores


@pytest.mark.slow
def test_a_run_that_is_cut_off_gives_the_same_result(run: Run, tones: ModuleType) -> None:
    truth: Result = run(tones.TONES, out="truth").result
    with pytest.raises(Cut):
        run(tones.TONES, out="cut", reporter=Scissors(20))
    resumed: Result = run(tones.TONES, out="cut").result
    assert (resumed.scores, resumed.sweep) == (truth.scores, truth.sweep)


def test_the_format_is_part_of_the_name_of_the_results() -> None:
    assert label_of(INT8, "mini", "float32") == "--store-format-int8"
    assert label_of(Options("mini"), "mini", "float32") == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "mini", "store_format": "int4"}, "--store-format 'int4': expected float16 or int8."),
        ({"protocol": "in-context", "store_format": "int8"}, "--store-format has no meaning with protocol in-context"),
    ],
)
def test_a_format_that_means_nothing_is_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        Options(**options)
