"""The sdist and the wheel: they contain the files of the tree, and the modules run from the wheel alone."""

from __future__ import annotations

import email
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import superbench

ROOT = Path(__file__).parents[1]
PRODUCT = ("superbench", "upstream", "downstream")
IMPORT_ALL = """
import importlib, json, pkgutil, sys
wheel, *libraries = sys.argv[1:]
sys.path[:0] = [wheel]
sys.path += libraries
names = [module.name for top in ("superbench", "upstream", "downstream") for module in
         pkgutil.walk_packages(importlib.import_module(top).__path__, f"{top}.") if not module.name.endswith("__main__")]
outside = [name for name in names if not importlib.import_module(name).__file__.startswith(wheel)]
from superbench.board.server import api_page
from superbench.results.published import published
from superbench.results.rows import columns
page = api_page.render({"info": {"title": "superbench board", "version": "1", "description": ""}, "paths": {}})
print(json.dumps({"count": len(names), "outside": outside, "docs": "superbench board" in page,
                  "published": len(published(columns()))}))
"""
"""Imports every module with the wheel and the libraries on the path only: `.pth` files, and with them an editable install, are
not read."""


@dataclass(frozen=True)
class Built:
    """What `python -m build` made: the tree that it was given, the sdist, and the wheel that it built from the sdist."""

    tree: Path
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Builds without a network from a copy of the tree, so that nothing is left over from an earlier build."""
    tree, dist = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    return Built(tree, sdist, wheel)


def tracked() -> list[str]:
    """The files of the repository, as git lists them."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout: which files belong to the repository is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def of_product(names: list[str]) -> set[str]:
    return {name for name in names if name.split("/")[0] in PRODUCT}


def test_the_wheel_contains_every_file_of_the_product_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == {name: (ROOT / name).read_bytes() for name in of_product(tracked())}
    assert {name.rsplit(".", 1)[-1] for name in inside} >= {"py", "typed", "csv", "j2", "css", "js"}


def test_the_wheel_names_itself_its_command_and_its_plugins(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = email.message_from_bytes(archive.read(f"{folder}/METADATA"))
        points = archive.read(f"{folder}/entry_points.txt").decode()
        assert f"{folder}/licenses/LICENSE" in archive.namelist()
    assert (metadata["Name"], metadata["Version"]) == ("speech-superbench", superbench.__version__)
    assert "superbench = superbench.__main__:main" in points
    assert "ks = downstream.keyword_spotting:TASK" in points


def test_every_module_of_the_wheel_imports_without_the_tree(built: Built, tmp_path: Path) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        archive.extractall(tmp_path)
    libraries = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    command = [sys.executable, "-I", "-S", "-c", IMPORT_ALL, str(tmp_path), *libraries]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    modules = {name for name in of_product(tracked()) if name.endswith(".py")}
    packages = {f"{top}/__init__.py" for top in PRODUCT} | {"superbench/__main__.py"}
    assert facts["count"] == len(modules - packages)
    assert facts["outside"] == []
    assert facts["docs"]
    assert facts["published"] > 10


def test_the_sdist_is_the_repository_with_its_tests(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    made = {name for name in names if name in ("PKG-INFO", "setup.cfg") or name.split("/")[0].endswith(".egg-info")}
    assert names - made == {*tracked()}
