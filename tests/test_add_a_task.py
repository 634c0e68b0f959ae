"""docs/add_a_task.md: the task that it shows is listed, keeps the contract, and runs, as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

SNIPPETS = re.findall(r"```(\w+)\n(.*?)```", (Path(__file__).parents[1] / "docs" / "add_a_task.md").read_text(), re.DOTALL)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The files of the page, and what pip leaves of its package."""
    for _, text in SNIPPETS:
        if named := re.match(r"# (\S+)\n", text):
            (tmp_path / named[1]).write_text(text)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    made = tmp_path / "superbench_tone-0.1.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["superbench.tasks"]
    lines = [f"{name} = {value}" for name, value in points.items()]
    (made / "entry_points.txt").write_text("\n".join(["[superbench.tasks]", *lines]))
    return tmp_path


def test_every_command_of_the_page_works(installed: Path, call: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    commands = [line for kind, text in SNIPPETS if kind == "bash" for line in text.strip().splitlines()]
    assert len(commands) == 4
    said = {}
    for command in commands:
        environment = {**os.environ, "PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(installed / "cache")}
        done = call(*command.split()[1:], folder=installed, environment=environment)
        assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}{done.stdout[-1000:]}"
        said[command] = done.stdout
    assert "tone" in said["superbench list tasks"]
    assert "keeps the contract of a task" in said["superbench check tone"]
    result = json.loads((installed / "results" / "fbank_no_cmvn" / "tone" / "result.json").read_text())
    assert result["scores"]["accuracy"]["value"] > 80
