"""The house: who may import whom, and that every plugin file has a name."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

import superbench

ROOT = Path(__file__).parents[1]
FLOORS = [
    {
        "errors",
        "installation",
        "items",
        "spelling",
        "reporting",
        "sizes",
        "upload",
        "measures",
        "memory",
        "processes",
        "tracing",
    },
    {"text", "devices"},
    {
        "interrupts",
        "ranges",
        "user",
        "contract",
        "files",
        "features.store.index",
        "features.store.shard",
        "sources",
        "entries",
        "features.containers",
        "features.streams",
    },
    {"features.sound_files", "schema", "naming"},
    {"corpora", "features.audio", "locks", "features.planner", "fingerprint"},
    {"features.store.pins", "scoring", "probing.training", "probing.intervals", "probing.batches", "probing.collapse"},
    {"features.store.eviction", "features.costs", "preparation", "learning.sound", "learning.curves", "learning.place"},
    {"features.store.verification", "features.store.sounds"},
    {"features.store.store", "checkpoints", "learning.learner", "plain", "scripts", "revision"},
    {"features.store"},
    {"registry"},
    {"features.passing"},
    {"features.outputs", "features.sharding", "symptoms"},
    {"features.extraction"},
    {"probing.probe", "doctor", "efficiency"},
    {"probing.updates", "probing.evaluation"},
    {"probing.sweep"},
    {"probing.fold"},
    {"probing.experiment"},
    {"results", "options"},
    {"passport", "destination"},
    {"record"},
    {"job", "pretraining", "generation", "inspection"},
    {"conformance", "synthesis", "bench", "forecast"},
    {"workers"},
    {"beside"},
    {"board"},
    {"report", "export", "comparison.sides", "comparison.paired"},
    {"modelcard", "comparison.differences", "html"},
    {"comparison.compare", "notebook"},
    {"runner"},
    {"story"},
    {"commands"},
    {"cli"},
]
"""From the ground up: a module imports only from floors below its own (or its own folder for `board` and `cli`)."""


def imports(path: Path) -> set[str]:
    """Modules that a file imports, `from x import y` giving `x`; imports for type checkers alone are left out."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def floor(module: str) -> int | None:
    """Which floor a module of the engine lives on."""
    name = module.removeprefix("superbench.")
    for number, rooms in enumerate(FLOORS):
        if name in rooms or name.split(".")[0] in rooms & {"board", "cli"}:
            return number
    return None


def python_files(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("path", python_files("superbench"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_imports_downward_and_no_plugin(path: Path) -> None:
    names = imports(path)
    assert not {name for name in names if name.split(".")[0] in ("upstream", "downstream", "tests")}
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if path.name in ("__init__.py", "__main__.py"):
        return
    own = floor(module)
    assert own is not None, f"{module} has no floor: give it one in FLOORS"
    for name in names:
        other = floor(name) if name.startswith("superbench.") else None
        if other is not None:
            inside = module.split(".")[1] in ("board", "cli") and name.split(".")[1] == module.split(".")[1]
            assert other < own or inside, f"{module} (floor {own}) imports {name} (floor {other})"


@pytest.mark.parametrize("folder", ["upstream", "downstream"])
def test_built_in_plugins_use_only_the_public_names_and_never_each_other(folder: str) -> None:
    other = {"upstream": "downstream", "downstream": "upstream"}[folder]
    for path in python_files(folder):
        for name in imports(path):
            top = name.split(".")[0]
            assert top != other, f"{path} imports {name}"
            if top == "superbench" and name != "superbench":
                assert name.removeprefix("superbench.") in superbench.__all__, f"{path} imports {name}, which is not public"
            if top == folder and path.parent.name == folder:
                assert name.split(".")[1:2] in ([], ["shared"]), f"{path} imports {name}"


def test_every_plugin_file_has_an_entry_point() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    named = {value.partition(":")[0] for group in points if group != "superbench.names" for value in points[group].values()}
    files = {f"{folder}.{path.stem}" for folder in ("upstream", "downstream") for path in (ROOT / folder).glob("[!_]*.py")}
    assert files == named


def test_every_file_that_is_no_module_is_named_as_data_of_its_package() -> None:
    """Else a wheel goes without it."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for folder in ("superbench", "upstream", "downstream"):
        packed = {path for pattern in patterns.get(folder, ()) for path in (ROOT / folder).glob(pattern)}
        files = {path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        assert {path for path in files if path.suffix != ".py"} <= packed, folder


def test_the_public_names_are_sorted_and_load() -> None:
    names = list(superbench.__all__)
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))  # as isort sorts
    for name in superbench.__all__:
        assert getattr(superbench, name) is not None


def test_files_stay_readable() -> None:
    files = [path for folder in ("superbench", "upstream", "downstream") for path in python_files(folder)]
    long = {str(path): len(path.read_text().splitlines()) for path in files}
    assert {path: lines for path, lines in long.items() if lines > 320} == {}
