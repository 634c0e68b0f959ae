"""A third-party distribution is listed and runs once installed, and disappears when uninstalled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PLUGIN = Path(__file__).parent / "plugin"
ROOT = PLUGIN.parents[1]


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of a scratch environment that sees this one's packages."""
    venv.create(tmp_path / "env", with_pip=True)
    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    shutil.rmtree(packages / "setuptools", ignore_errors=True)  # older Pythons install an old one, which cannot build wheels
    (packages / "here.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n{ROOT}\n")
    return tmp_path / "env" / "bin" / "python"


def call(python: Path, *arguments: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [str(python), "-m", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=environment,
        cwd=python.parent,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
    return done.stdout


def upstreams(python: Path) -> dict[str, str]:
    rows = json.loads(call(python, "superbench", "list", "upstreams", "--json"))
    return {row["name"]: row["distribution"] for row in rows}


def test_a_plugin_is_listed_runs_and_disappears_when_uninstalled(python: Path, tmp_path: Path) -> None:
    assert sys.prefix != str(python.parents[1])
    assert "spectrum" not in upstreams(python)
    source = shutil.copytree(PLUGIN, tmp_path / "plugin", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    call(python, "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", str(source))
    assert upstreams(python)["spectrum"] == "superbench-tones"
    data, out = str(tmp_path / "data"), str(tmp_path / "out")
    call(python, "superbench", "data", "synth", "--out", data, "--tasks", "tone")
    call(python, "superbench", "run", "spectrum", "--tasks", "tone", "--data", data, "--out", out, "--store", f"{out}/store")
    result = json.loads((tmp_path / "out" / "spectrum" / "tone" / "result.json").read_text())
    assert result["scores"]["accuracy"]["value"] > 60
    call(python, "pip", "uninstall", "--quiet", "--yes", "superbench-tones")
    assert "spectrum" not in upstreams(python)
