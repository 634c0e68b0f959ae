"""Every command and the snippet that the README shows, run as they stand there, one after another."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def section(title: str) -> str:
    """The text under a heading."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run; the commands build on each other."""
    return tmp_path_factory.mktemp("readme")


def run(folder: Path, arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=400, check=False,
        env={"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1", "HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, f"{arguments}: {done.stderr[-2000:]}{done.stdout[-1000:]}"
    return done.stdout


def test_the_commands_of_use_it(folder: Path) -> None:
    commands = [line for line in section("Use it").splitlines() if line.startswith("superbench ")]
    assert len(commands) >= 9
    said = {}
    for command in commands:
        words = shlex.split(command)
        said[" ".join(words[:2])] = run(folder, ["-m", *words])
    assert "apc" in said["superbench list"] or "ks" in said["superbench list"]
    assert "complete" in said["superbench data"]
    assert "keeps the contract" in said["superbench check"]
    assert r"\toprule" in said["superbench report"]
    assert "accepted" in said["superbench submit"]
    assert (folder / "board.html").read_text().startswith("<!doctype html>")


def test_the_python_snippet(folder: Path) -> None:
    snippet = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert snippet
    shown = {"demo/apc.safetensors": "apc.safetensors", "demo/data": "mini", '"ks,ic"': '"ks"'}
    code = snippet[1]
    for old, new in shown.items():
        assert old in code
        code = code.replace(old, new)
    (folder / "snippet.py").write_text(code)
    out = run(folder, ["snippet.py"])
    assert re.search(r"^fbank ks \d", out, re.MULTILINE)
    assert (folder / "results-board.html").is_file()
