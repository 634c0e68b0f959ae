"""Another project's package of the same name is reported, however it was installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from superbench.system.installation import foreign

PACKAGE = Path(__file__).parents[3] / "superbench"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder in the state in which pip leaves it after it installed a foreign superbench."""
    (tmp_path / "superbench" / "runner").mkdir(parents=True)
    (tmp_path / "superbench" / "__init__.py").write_text("")
    made = tmp_path / "superbench-0.12.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Name: superbench\nVersion: 0.12.0\n")
    (made / "top_level.txt").write_text("superbench\n")
    return tmp_path


@pytest.mark.slow
def test_alone_there_is_nothing_to_say() -> None:
    assert foreign() == []
    assert foreign([str(PACKAGE.parent), ""]) == []


@pytest.mark.slow
def test_a_package_elsewhere_on_the_path_is_named(site: Path) -> None:
    assert foreign([str(PACKAGE.parent), str(site)]) == [f"{site / 'superbench'} is another one"]


@pytest.mark.slow
def test_a_folder_without_python_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "superbench").mkdir()
    assert foreign([str(tmp_path)]) == []


@pytest.mark.slow
def test_a_distribution_that_shares_our_folder_is_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    assert "the distribution superbench installs one, too" in foreign([])


def test_check_warns(call: Callable[..., subprocess.CompletedProcess[str]], site: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = call("check", "fbank", "--quick", "--json", environment=environment)
    assert done.returncode == 0
    assert "More than one Python package is called superbench" in done.stderr
    assert "use an environment of its own for each" in done.stderr
    assert any("0.12" not in one and str(site) in one for one in json.loads(done.stdout)["foreign"])


@pytest.mark.slow
def test_check_warns_when_the_other_package_has_overwritten_ours(site: Path) -> None:
    """pip writes both packages into one folder, so that the second one that is installed overwrites files of the first."""
    merged = site / "superbench"
    shutil.copytree(PACKAGE, merged, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    for name in ("__init__.py", "cli/__init__.py"):
        (merged / name).write_text('__version__ = "0.12.0"\n')
    command = [sys.executable, "-m", "superbench", "check", "fbank", "--quick"]
    done = subprocess.run(command, cwd=site, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True)
    assert done.returncode != 0  # the models find none of the public names
    warning, _, error = done.stderr.partition("\n")
    assert "the distribution superbench installs one, too" in warning
    assert "use an environment of its own for each" in warning
    assert "cannot import name" in error
