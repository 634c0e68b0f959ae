"""What a notebook shows of a run, a result and a board; scripts and terminals show text as before."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from superbench import Board
from superbench.plugins import parse
from superbench.results import read_result
from superbench.results.result import Result
from superbench.runs.jobs import Ended, Job, NoWatcher
from superbench.runs.notebook import NotebookDisplay, in_notebook, usual_watcher
from superbench.runs.report import Report


def drawn(job: Job, result: Result) -> list[str]:
    """Everything that was drawn for a run of two jobs, of which one ends with `result` and the other fails."""
    pictures: list[str] = []
    ticks = iter(range(100))
    display = NotebookDisplay(pictures.append, clock=lambda: float(next(ticks)))
    failing = Job(parse("fbank"), "ks")
    display.planned({job: 30.0, failing: 10.0})
    display.started(job)
    display.advance(job, "extract", 3, 4)
    display.note(job, "5 files were <resampled>")
    display.ended(Ended(job, "done", result))
    display.ended(Ended(failing, "failed", None, "no sound"))
    return pictures


def test_a_run_draws_its_progress_bar_its_jobs_and_their_results(a_folder: Callable[..., Path]) -> None:
    job = Job(parse("apc"), "ks")
    first, *_, before, last = drawn(job, read_result(a_folder("apc", 36) / "ks"))
    assert '<progress value="0" max="40">' in first
    assert '<progress value="30" max="40">' in before
    assert "<progress" not in last
    assert "5 files were &lt;resampled&gt;" in last
    assert "apc · ks: accuracy 75" in last
    assert "fbank · ks: failed. no sound" in last


def test_a_running_job_shows_its_stage(a_folder: Callable[..., Path]) -> None:
    pictures = drawn(Job(parse("apc"), "ks"), read_result(a_folder("apc", 36) / "ks"))
    assert any("apc · ks · extract 75 %" in picture for picture in pictures)
    assert "extract" not in pictures[-1]


def test_a_report_is_a_table_and_names_what_has_no_result(a_folder: Callable[..., Path]) -> None:
    results = [read_result(a_folder(name, right) / "ks") for name, right in (("<b>apc", 40), ("fbank", 12))]
    ended = [Ended(Job(parse("apc"), "ks"), "done", result) for result in results]
    report = Report([*ended, Ended(Job(parse("mfcc"), "er"), "absent", None, "IEMOCAP is not there")], 12.0)
    html = report._repr_html_()
    assert re.search(r"<th>KS accuracy ↑</th>.*<b>83\.3 ±", html)
    assert "&lt;b&gt;apc" in html
    assert "<b>apc" not in html
    assert "mfcc · er: absent. IEMOCAP is not there" in html
    assert Report([], 1.0)._repr_html_() == "<br>1 s"


def test_python_prints_a_report_as_tables_and_a_result_as_a_line(a_folder: Callable[..., Path]) -> None:
    result = read_result(a_folder("apc", 36) / "ks")
    report = Report(
        [Ended(Job(parse("apc"), "ks"), "done", result), Ended(Job(parse("mfcc"), "er"), "absent", None, "no")], 12.0
    )
    assert re.search(r"│ KS accuracy ↑ │ +75\.0 ±", str(report))
    assert str(report).endswith("mfcc · er: absent. no\n12 s")
    assert re.fullmatch(r"<Result apc · ks \(protocol mini\): accuracy 75 % \[[\d.]+, [\d.]+\]>", repr(result))
    assert repr([result, result]).count("<Result") == 2
    assert repr(Report([], 1.0)) == "1 s"


def test_a_result_is_a_row_for_each_metric(a_folder: Callable[..., Path]) -> None:
    result = read_result(a_folder("<i>x", 36, deviations=["--max-steps 10"]) / "ks")
    html = result._repr_html_()
    assert "<td>accuracy ↑</td><td>75 %</td>" in html
    assert "&lt;i&gt;x · ks" in html
    assert "deviates from the recipe: --max-steps 10" in html
    assert "<i>" not in html


def test_a_board_without_bundles_says_so(tmp_path: Path) -> None:
    board = Board(tmp_path / "<empty>")
    assert board._repr_html_().endswith("/&lt;empty&gt; contains no bundle yet.</p>")
    assert not (tmp_path / "<empty>").exists()


def test_a_script_is_not_taken_for_a_notebook() -> None:
    assert not in_notebook()
    assert isinstance(usual_watcher(), NoWatcher)
