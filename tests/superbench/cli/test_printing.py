"""Terminals and files with a limited encoding get plain characters; output for programs does not change."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from superbench.cli.display import PlainConsole
from superbench.cli.printing import HANDLER, prepare, spelled

NAME = "модель-é"


Command = Callable[..., subprocess.CompletedProcess[str]]


def surroundings(encoding: str) -> dict[str, str]:
    return {**os.environ, "PYTHONIOENCODING": encoding, "TERM": "dumb"}


@pytest.fixture
def command(call: Command) -> Command:
    """`command("ascii", "list", "tasks")`: a command whose standard output and error have this encoding."""
    return lambda encoding, *arguments: call(*arguments, environment=surroundings(encoding))


@pytest.fixture
def results(a_folder: Callable[..., Path]) -> Path:
    """Two upstreams; the name of one is not in ASCII."""
    a_folder("plain", 20)
    return a_folder(NAME, 40).parent


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r"])
def test_every_mark_is_encoded(encoding: str) -> None:
    text = "✓ ✗ – ± ≈ ≤ ≥ → ↑ ↓ † · × … ┏━┓ │ 10⁹ naïve 模型 \udcff"
    plain = spelled(text, encoding)
    assert plain.encode(encoding).decode(encoding) == plain
    assert "?" not in plain
    assert "\\u6a21" in plain


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_columns_stay_straight(encoding: str) -> None:
    from rich.table import Table

    prepare()
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=HANDLER)
    table = Table("metric ↑", "value")
    for row in (("ks ≈", "8.33 ± 0.77"), ("longer name", "1 – 2")):
        table.add_row(*row)
    console = PlainConsole(file=file, width=60)
    console.print(table)
    file.seek(0)
    lines = file.read().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert any("0.77" in line for line in lines)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "tasks"],
        ["list", "upstreams"],
        ["--help"],
        ["run", "--help"],
        ["store", "gc", "--help"],
        ["data", "check", "--data", "."],
    ],
    ids=" ".join,
)
def test_commands_print_in_any_encoding(encoding: str, arguments: list[str], command: Command) -> None:
    done = command(encoding, *arguments)  # decoded as it was encoded
    assert "UnicodeEncodeError" not in done.stderr
    assert done.returncode in (0, 1)
    assert len(done.stdout) > 100


def test_started_from_nothing_a_command_prints_the_same(command: Command) -> None:
    """Python sets the encoding at the start."""
    arguments = [sys.executable, "-m", "superbench", "list", "tasks"]
    done = subprocess.run(arguments, capture_output=True, env=surroundings("ascii"), check=True)
    assert (done.stdout.decode("ascii"), done.stderr) == (command("ascii", "list", "tasks").stdout, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_names_in_other_letters_are_printed_and_programs_read_them(encoding: str, results: Path, command: Command) -> None:
    table = command(encoding, "report", str(results))
    assert (table.returncode, table.stderr) == (0, "")
    assert "\\u043c" in table.stdout
    assert ("±" if encoding == "latin-1" else "+/-") in table.stdout
    found = json.loads(command(encoding, "report", str(results), "--format", "json").stdout)
    assert {one["upstream"]["name"] for one in found} == {"plain", NAME}
    rows = list(csv.DictReader(command(encoding, "report", str(results), "--format", "csv").stdout.splitlines()))
    assert {row["task"] for row in rows} == {"ks"}
    compared = command(encoding, "diff", str(results / "plain"), str(results / NAME.replace("/", "_")), "--json")
    assert json.loads(compared.stdout)["schema"] == 1
    refused = command(encoding, "report", str(results / "нет"))
    assert refused.returncode == 1
    assert refused.stderr.startswith("superbench: ")


def test_the_line_of_a_job_is_printed_in_any_encoding(
    keyword_corpora: Path, warm_store: Path, tmp_path: Path, command: Command
) -> None:
    places = ["--data", str(keyword_corpora), "--store", str(warm_store), "--out", str(tmp_path / "out"), "--workers", "1"]
    done = command("ascii", "run", f"{NAME}=mfcc", "--tasks", "ks", "--max-steps", "1", *places)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n+ " in "\n" + done.stdout
    assert "+/-" in done.stdout


def test_colours_asked_for_in_a_pipe_bring_no_moving_bars() -> None:
    """Jupyter sets FORCE_COLOR for commands in its cells; bars would fill the cell with control codes."""
    code = "from superbench.cli.display import bars; print(bars().disable)"
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-color"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
