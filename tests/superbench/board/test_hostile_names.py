"""Names and notes with control sequences of a terminal, formulas or LaTeX commands are printed as plain text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from superbench.cli.display import PlainConsole
from superbench.results import Result, tables
from superbench.system.files import write_table
from superbench.system.spelling import in_csv, in_latex, visible

NAMES = ["[/foo]", "hubert[large]", "[bold red]x[/]", "a\x1b[2J\x1b]0;title\x07b", "a\x9b31mb", "a\u202egpj", "a\rb", "\\[x]"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_terminal_shows_a_name_and_does_nothing_else(
    name: str, a_folder: Callable[..., Path], rewritten: Callable[..., Path], call: Any
) -> None:
    def hostile(record: dict[str, Any]) -> None:
        record["upstream"]["name"] = name
        record["notes"], record["deviations"] = [name], [f"{name} in place of the recipe's"]

    a_folder("other", 20)
    place = rewritten(a_folder("any", 30), hostile)
    results = str(place.parent)
    formats = [["report", results, "--format", one] for one in tables.FORMATS]
    for arguments in (["report", results], ["diff", str(place), str(place.parent / "other")], *formats):
        done = call(*arguments)
        assert done.returncode == 0, done.stderr
        assert not set(done.stdout + done.stderr) & set("\x1b\x07\x9b\r\u202e")
        if arguments[0] == "report" and len(arguments) == 2:
            assert visible(name).replace("\n", "") in done.stdout
    wrong = call("report", str(place), "--format", name)
    assert (wrong.returncode, set(wrong.stderr) & set("\x1b\x07\x9b\u202e")) == (2, set())


def test_nothing_that_is_printed_controls_the_terminal() -> None:
    from rich.table import Table
    from rich.text import Text

    file = io.StringIO()
    console = PlainConsole(file=file, width=60, markup=False)
    table = Table("a\x1b[31m", title="[/foo]")
    table.add_row(Text("b\x1b[2J"))
    for what in ("c\x1b[31m", Text("d\x07"), table):
        console.print(what)
    assert not set(file.getvalue()) & set("\x1b\x07")
    for shown in ("a\\x1b[31m", "b\\x1b[2J", "c\\x1b[31m", "d", "[/foo]"):
        assert shown in file.getvalue()


@pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " =1", "＝1+1"])
def test_a_spreadsheet_runs_nothing(name: str, a_result: Callable[..., Result], tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(tables.as_csv([a_result(name, 30, deviations=[name])]))))
    told = dict(zip(rows[0], rows[1], strict=True))
    assert (told["upstream"][0], told["deviations"][0]) == ("'", "'")
    assert float(told["value"]) == 62.5
    write_table(tmp_path / "table.csv", ["fold", "dev"], [{"fold": name, "dev": -0.5}])
    (_, (fold, dev)) = csv.reader(io.StringIO((tmp_path / "table.csv").read_text()))
    assert (fold[0], dev) == ("'", "-0.5")


@pytest.mark.parametrize("number", ["-0.5", "+1", "-1e-3", -0.5, 7, None])
def test_numbers_stay_numbers(number: object) -> None:
    assert in_csv(number) == number


def test_latex_is_escaped_in_full(a_result: Callable[..., Result]) -> None:
    name = r"a\input{x}_b^2~c%d&e#f$g<h>i|j" + "\nk"
    text = tables.as_latex([a_result(name, 30)])
    assert r"\input" not in text
    assert in_latex(name) in text
    assert in_latex("\\") == r"\textbackslash{}"
    for sign in "&%$#_{}":
        assert in_latex(f"a{sign}") == f"a\\{sign}"
    assert all(sign not in in_latex(sign) for sign in "~^<>|")
    assert "\n" not in in_latex("a\nb")
