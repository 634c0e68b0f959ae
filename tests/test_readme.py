"""Every command and the snippet that the README shows, run as they stand there, one after another."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
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


def of_somebody(folder: Path) -> dict[str, str]:
    """The environment of a person whose home is `folder`."""
    return {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1", "HOME": str(folder)}


def printed(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that succeeded said."""
    assert done.returncode == 0, f"{done.args}: {done.stderr[-2000:]}{done.stdout[-1000:]}"
    return done.stdout


def test_the_commands_of_use_it(folder: Path, call: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    commands = [line for line in section("Use it").splitlines() if line.startswith("superbench ")]
    assert len(commands) >= 9
    said = {}
    for command in commands:
        words = shlex.split(command)
        said[" ".join(words[:2])] = printed(call(*words[1:], folder=folder, environment=of_somebody(folder)))
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
    out = printed(
        subprocess.run(
            [sys.executable, "snippet.py"], cwd=folder, env=of_somebody(folder), capture_output=True, text=True, timeout=400,
            check=False,
        )
    )  # fmt: skip
    assert re.search(r"^fbank ks \d", out, re.MULTILINE)
    assert (folder / "results-board.html").is_file()
