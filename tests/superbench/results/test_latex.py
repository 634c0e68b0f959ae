"""LaTeX tables: tasks in columns in the order of the SUPERB paper, and a footnote for the dagger; reports of boards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import doubles
import pytest
from typer.testing import CliRunner

from superbench import Board
from superbench.cli.app import app
from superbench.plugins import task
from superbench.results import Result, tables

ORDER = ("pr", "ks", "ic", "sid", "er", "asr", "qbe", "sf", "asv", "sd")


def on_every_task(name: str, value: float, **more: object) -> list[Result]:
    results = []
    for kind in reversed(ORDER):
        primary = task(kind).card.primary
        facts = doubles.score_facts(value, higher_is_better=primary not in ("per", "wer", "eer", "der"))
        record = {"task": {"name": kind, "version": 1, "protocol": "mini"}, "scores": {primary: facts}, "primary": primary}
        results.append(doubles.result(name, **record, **more))
    return results


@pytest.mark.slow
def test_tasks_are_columns_in_the_order_of_the_paper() -> None:
    lines = tables.as_latex([*on_every_task("apc", 40.0), *on_every_task("low_pass", 50.0)]).splitlines()
    heads = next(line for line in lines if "PR &" in line)
    assert heads == r"& PR & KS & IC & SID & ER & ASR & QBE & SF & ASV & SD \\"
    below = lines[lines.index(heads) + 1]
    assert below.startswith(r"upstream & per $\downarrow$ & accuracy $\uparrow$")
    (row,) = [line for line in lines if line.startswith(r"low\_pass")]
    assert [cell.strip().startswith(r"\textbf") for cell in row.removesuffix(r" \\").split("&")[1:]] == [
        kind not in ("pr", "asr", "asv", "sd") for kind in ORDER
    ]
    assert "footnotesize" not in "".join(lines)


@pytest.mark.slow
def test_a_dagger_has_a_footnote_with_the_deviation() -> None:
    text = tables.as_latex([*on_every_task("apc", 40.0), *on_every_task("short", 50.0, deviations=["at most 10 updates"])])
    assert r"50.0$^\dagger$" in text
    (note,) = [line for line in text.splitlines() if "footnotesize" in line]
    assert note.startswith(r"\multicolumn{11}{l}{\footnotesize $^\dagger$Deviates from the recipe")
    assert note.endswith(r"at most 10 updates.} \\")


def test_a_report_of_a_board_shows_its_results(a_folder: Callable[..., Path], tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    board.submit(a_folder("apc", 30))
    for address in (str(tmp_path / "board"),):
        done = CliRunner().invoke(app, ["report", address, "--format", "latex"])
        assert done.exit_code == 0, done.output
        assert r"& KS \\" in done.output
        assert "apc &" in done.output
