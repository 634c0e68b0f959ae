"""The command line: its lists, its errors and its speed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from superbench.cli.app import app
from superbench.runs.runner import run

Call = Callable[..., subprocess.CompletedProcess[str]]
PROBE = """
import sys
from superbench.__main__ import main
sys.argv = ["superbench", *{}]
try:
    main()
except SystemExit:
    print([name for name in ("torch", "librosa", "pydantic") if name in sys.modules], file=sys.stderr)
"""


def started_from_nothing(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Unlike the fixture `call`, this starts a process without loaded libraries."""
    command = [sys.executable, "-m", "superbench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture(scope="module")
def results(keyword_corpora: Path, warm_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two upstreams on keyword spotting, shortened."""
    root = tmp_path_factory.mktemp("results")
    run(["mfcc", "fbank_no_cmvn"], "ks", data=keyword_corpora, out=root, store=warm_store, max_steps=20, workers=1)
    return root


@pytest.mark.slow
def test_help_and_lists_import_nothing_heavy() -> None:
    for kind, least in (("tasks", 10), ("upstreams", 9)):
        done = subprocess.run(
            [sys.executable, "-c", PROBE.format(["list", kind, "--json"])],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr.strip() == "[]"
        rows = json.loads(done.stdout)
        assert len(rows) >= least
        assert all(row["line"] and row["module"] and row["distribution"] for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["list", "--help"], ["check", "--help"], ["run", "--help"]])
def test_help_does_not_import_torch(arguments: list[str]) -> None:
    code = PROBE.format(arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"
    assert "Usage" in done.stdout


def test_the_doctor_prints_a_certificate_or_the_reasons(call: Call, tmp_path: Path) -> None:
    found = json.loads(call("check", "fbank", "--json", "--quick").stdout)
    assert (found["healthy"], found["mates"], found["hop"], found["reasons"]) == (True, "any", 160, [])
    measured = {finding["name"]: finding for finding in found["findings"]}
    assert measured["length"]["value"] == 160
    assert measured["memory"]["value"] >= 0
    assert measured["speed"]["value"] > 0
    assert "12 s" in measured["long sound"]["measured"]
    text = (Path(__file__).parents[2] / "plugin" / "superbench_tones.py").read_text()
    (tmp_path / "sick.py").write_text(text.replace("* keep, count)", "* keep, count + 1)"))
    done = call("check", f"{tmp_path / 'sick.py'}:Spectrum")
    assert done.returncode == 1
    assert "its lengths contain 75 frames" in " ".join(done.stdout.split()) or "frames, but it returns" in done.stdout


@pytest.mark.slow
def test_help_names_the_commands() -> None:
    done = started_from_nothing("--help")
    assert done.returncode == 0
    for name in (
        "demo",
        "list",
        "check",
        "data",
        "pretrain",
        "run",
        "report",
        "submit",
        "board",
        "references",
        "token",
        "backup",
        "restore",
    ):
        assert f" {name} " in done.stdout


def commands(group: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its arguments on the command line."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


@pytest.mark.slow
def test_help_shows_every_placeholder() -> None:
    seen = 0
    for names, command in commands(typer.main.get_command(app)):
        texts = [command.help or "", *(getattr(parameter, "help", None) or "" for parameter in command.params)]
        wanted = [word for text in texts for word in re.findall(r"<[a-z]+>", text)]
        seen += len(wanted)
        if wanted:
            shown = CliRunner().invoke(app, [*names, "--help"], env={"COLUMNS": "300"}).output
            assert [word for word in wanted if word not in shown] == [], names
    assert seen


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("run", "fbnk", "--data", "{data}"), 2, "Did you mean fbank"),
        (("run", "fbank", "--tasks", "kss", "--data", "{data}"), 2, "Did you mean ks"),
        (("run", "apc", "--tasks", "ks", "--data", "{data}"), 1, "superbench pretrain apc"),
        (("run", "fbank", "--data", "{data}/nowhere"), 1, "is not a folder"),
        (("run", "fbank", "--data", "{data}", "--lr", "fast"), 2, "expected numbers"),
        (("run", "fbank", "--data", "{data}", "--protocol", "best"), 2, "expected one of superb"),
        (("pretrain", "apc", "--audio", "{data}", "--out", "{data}/x", "--echo"), 2, "cannot be pretrained on echo episodes"),
        (("pairs", "apc", "--data", "{data}/nowhere"), 1, "superbench data pairs --out"),
        (("pretrain", "fbank", "--audio", "{data}", "--out", "{data}/x"), 2, "cannot be pretrained"),
        (("report", "{data}"), 1, "contains no result.json"),
        (("board", "{data}/nowhere"), 2, "is not a board"),
        (("check", "nothing"), 2, "superbench list upstreams"),
        (("data", "check", "--data", "{data}", "--tasks", "ic"), 1, "absent"),
    ],
)
def test_what_is_wrong_is_said_in_one_paragraph(
    call: Call, keyword_corpora: Path, tmp_path: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    out = ("--out", str(tmp_path / "out")) if arguments[0] == "run" else ()
    done = call(*(argument.format(data=keyword_corpora) for argument in arguments), *out)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == status, said
    assert words in said
    assert "Traceback" not in said


def test_debug_shows_the_traceback(call: Call) -> None:
    done = call("check", "nothing", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "UnknownName" in done.stderr


def test_started_from_nothing_it_says_the_same(call: Call) -> None:
    found = started_from_nothing("check", "nothing")
    assert (found.returncode, found.stdout) == (2, "")
    again = call("check", "nothing")
    assert (again.returncode, again.stdout, again.stderr) == (found.returncode, found.stdout, found.stderr)


def test_results_go_from_report_to_board(call: Call, results: Path, tmp_path: Path) -> None:
    assert "KS accuracy" in call("report", str(results)).stdout
    assert call("report", str(results), "--format", "csv").stdout.count("\n") == 3
    assert len(json.loads(call("report", str(results), "--format", "json").stdout)) == 2
    assert call("report", str(results), "--format", "xml").returncode == 2
    (above := tmp_path / "above").mkdir()
    (above / "results").symlink_to(results)
    assert call("report", str(above)).stderr.endswith(f"no result.json. There are results in {above / 'results'}.\n")
    board = tmp_path / "board"
    assert "accepted" in call("submit", str(results), "--board", str(board)).stdout
    assert call("submit", str(results), "--board", str(board)).stdout.count("already on the board") == 2
    page = tmp_path / "board.html"
    assert call("board", str(board), "--out", str(page)).returncode == 0
    also = tmp_path / "also.html"
    assert call("board", "page", str(board), "--out", str(also)).returncode == 0
    assert also.read_bytes() == page.read_bytes()
    assert "mfcc" in page.read_text()
    assert call("submit", str(results), "--board", "https://example.org").returncode == 2
    each, other = sorted(str(folder.parent) for folder in results.glob("*/ks")), str(tmp_path / "other")
    assert call("submit", *each, "--board", other).stdout.count("accepted") == 2
    for row in ("fbank_no_cmvn", "mfcc"):
        assert call("board", "hide", other, row).returncode == 0
    assert call("report", other).stderr == (
        f"superbench: {other} shows no row; `superbench board history {other}` lists those that are hidden or withdrawn.\n"
    )


def test_the_keeper_of_a_board_adds_references_makes_tokens_saves_and_restores(
    call: Call, results: Path, tmp_path: Path
) -> None:
    board, saved, again = str(tmp_path / "board.db"), str(tmp_path / "saved.zip"), str(tmp_path / "again")
    assert "labels of the data" in call("references", board, "--add", str(results)).stdout
    assert call("references", board).stdout.startswith("ks-")
    assert call("submit", str(results), "--board", board, "--without-references").stdout.count("accepted") == 2
    assert call("token", board, "--name", "alice").stdout.startswith("sb_")
    assert "2 bundles" in call("backup", board, saved).stdout
    assert "2 bundles" in call("restore", saved, again).stdout
    assert call("restore", saved, again).returncode == 2
    assert "alice" in call("token", again, "--list").stdout
    assert "revoked" in call("token", again, "--revoke", "alice").stdout
    assert call("token", again, "--revoke", "alice").returncode == 2
    assert call("board", again, "--out", str(tmp_path / "page.html"), "--superseded").returncode == 0
    assert "superb_prelim2021" in (tmp_path / "page.html").read_text()
