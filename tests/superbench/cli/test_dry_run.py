"""`superbench run --dry-run`: prints the jobs that would run, and writes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from superbench.cli.app import app
from superbench.errors import CommandError
from superbench.runs.runner import run


def dry(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["run", *arguments, "--dry-run"])


def words(done: Any) -> str:
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def rows(done: Any) -> dict[str, str]:
    """`upstream task` -> the other cells of its row."""
    found = re.findall(r"^ ?(\S+) +(\w+) +((?:runs|found already|absent|fails).*)$", done.output, re.MULTILINE)
    return {f"{upstream} {task}": " ".join(rest.split()) for upstream, task, rest in found}


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_jobs_recipes_and_costs_are_said_and_nothing_is_written(
    keyword_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = everything(keyword_corpora)
    done = dry(
        "fbank", "small=apc:untrained", "--data", str(keyword_corpora), "--out", "out", "--store", "store", "--seeds", "0,3",
        "--variant", "sampled-dev", "--workers", "1",
    )  # fmt: skip
    assert rows(done)["fbank ks"] == "runs 1000 × 32 100 0.01 0.001 0.0001 0 3 sampled-dev"
    assert rows(done)["small ks"].startswith("runs")
    assert rows(done)["fbank sd"].startswith("absent 90 × 16 15 0.008 0 3")
    assert rows(done)["fbank qbe"] == "absent – – – –"
    assert len(rows(done)) == 20
    said = words(done)
    for part in (
        "nothing is extracted, trained or written", "2 of 20 jobs would run, on cpu, protocol mini, worker processes: 1",
        "variant sampled-dev: dev is drawn once", "Speech Commands", "s of work per second of sound",
        "Free space on the disk", f"ic: fluent_speech_commands_dataset is not there: looked for {keyword_corpora}",
    ):  # fmt: skip
        assert part in said
    assert everything(keyword_corpora) == before
    assert [path for path in everything(tmp_path) if path.name != "cache"] == []


def test_what_is_done_is_found_and_what_differs_would_run(keyword_corpora: Path, tmp_path: Path) -> None:
    places = {"data": keyword_corpora, "out": tmp_path / "out", "store": tmp_path / "store"}
    run(["fbank"], "ks", **places, max_steps=20, workers=1)
    before = {path: path.stat().st_mtime_ns for path in everything(tmp_path)}
    arguments = [part for name, path in places.items() for part in (f"--{name}", str(path))]
    done = dry("fbank", "--tasks", "ks", "--max-steps", "20", *arguments)
    assert rows(done)["fbank ks"].startswith("found already 20 × 32 10")
    assert "0 of 1 jobs would run" in words(done)
    assert "s of work per second" not in words(done)
    assert rows(dry("fbank", "--tasks", "ks", "--max-steps", "21", *arguments))["fbank--max-steps-21 ks"].startswith("runs")
    assert {path: path.stat().st_mtime_ns for path in everything(tmp_path)} == before


def test_a_named_task_without_its_corpus_and_a_damaged_corpus_would_fail(keyword_corpora: Path, tmp_path: Path) -> None:
    (tmp_path / "LibriSpeech" / "train-clean-100").mkdir(parents=True)
    done = dry("fbank", "--tasks", "asr,ks", "--data", str(tmp_path), "--out", str(tmp_path / "out"))
    assert {name: row.split()[0] for name, row in rows(done).items()} == {"fbank asr": "fails", "fbank ks": "fails"}
    assert "contains no <speaker>/<chapter>" in words(done)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("fbnk",), "Did you mean fbank"), (("fbank", "--variant", "x"), "none of the chosen tasks has this variant")],
)
def test_an_impossible_run_is_refused_as_it_would_be(keyword_corpora: Path, arguments: tuple[str, ...], message: str) -> None:
    done = dry(*arguments, "--data", str(keyword_corpora))
    assert isinstance(done.exception, CommandError)
    assert message in str(done.exception)


def test_what_a_model_or_a_task_cannot_do_is_said_before_the_run(keyword_corpora: Path, tmp_path: Path) -> None:
    own = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    places = ["--tasks", "ks", "--data", str(keyword_corpora), *own]
    beyond = dry("fbank", *places, "--layers", "0,3")
    assert rows(beyond)["fbank ks"].startswith("fails")
    assert "--layers 3: fbank has the hidden states 0 to 0" in words(beyond)
    no_such_number = dry("fbank", *places, "--protocol", "few-shot", "--shots", "0")
    assert rows(no_such_number)["fbank ks"].startswith("fails")
    assert "--shots 0: ks has none of these" in words(no_such_number)
