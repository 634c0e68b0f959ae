"""Fixtures of all tests: the plugin's tones as a corpus, a store, commands that start quickly."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from superbench.contract.corpora import WRITTEN
from superbench.data.synthesis import synthesize
from superbench.system.locks import locked
from superbench.system.processes import LIBRARIES
from superbench.system.progress import Silence

os.environ.setdefault("OMP_NUM_THREADS", "1")
PLUGIN = Path(__file__).parent / "plugin" / "superbench_tones.py"
LONGEST = [
    "test_engines",
    "test_readme",
    "test_notebooks",
    "test_server",
    "test_permuted_labels",
    "test_identity",
    "test_runner",
    "test_commands",
    "test_native",
    "test_ranking",
]
"""Files that take longest, by the beginning of their names: they begin first, so that no worker is left alone with one."""

OURS = [
    "superbench.cli.app",
    "superbench.cli.display",
    "superbench.results.tables",
    "superbench.runs.runner",
    "superbench.plugins.doctor.examination",
]
TASKS = sorted(f"downstream.{path.stem}" for path in (Path(__file__).parents[1] / "downstream").glob("[a-z]*.py"))
"""What most commands load, beside the libraries."""


MARKED_BY = {"reference": "parity", "browser": "browser", "serving": "server", "miniature": "slow", "call": "slow"}
"""Fixture -> the marker of every test that uses it; the other tests carry their marks in their files."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a test uses marks it; the longest files first, the others stay in their order."""
    for item in items:
        for fixture in MARKED_BY.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKED_BY[fixture])
        if "parity" in item.path.parts:
            item.add_marker("parity")
        if item.get_closest_marker("parity"):  # s3prl leaves the files that it reads to the garbage collector
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))

    def rank(item: pytest.Item) -> int:
        return next((n for n, name in enumerate(LONGEST) if item.path.name.startswith(name)), len(LONGEST))

    items.sort(key=rank)


@pytest.fixture(scope="session")
def tones() -> ModuleType:
    """The third-party plugin's module, loaded without installing it."""
    spec = importlib.util.spec_from_file_location("superbench_tones", PLUGIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["superbench_tones"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tone_corpora(tones: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the tones in it."""
    root = tmp_path_factory.mktemp("data")
    tones.synth(root, 0)
    return root


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this session see."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def miniature(shared: Path) -> Callable[[str], Path]:
    """`miniature("ks")` is a data root with the miniature corpus of a task, synthesised by whoever asks first; nobody writes
    into it."""

    def synthesised(task: str) -> Path:
        root = shared / f"miniature-{task}"
        with locked(shared / f"{root.name}.lock", wait=True):
            if not (root / WRITTEN).is_file():  # the last that is written
                synthesize(root, 0, [task], Silence())
        return root

    return synthesised


@pytest.fixture(scope="session")
def keyword_corpora(miniature: Callable[[str], Path]) -> Path:
    """The miniature of keyword spotting; nobody writes into it."""
    return miniature("ks")


@pytest.fixture(scope="session")
def warm_store(shared: Path) -> Path:
    """A feature store that keeps what earlier tests extracted, for tests of what comes after extraction."""
    return shared / "store"


@pytest.fixture(scope="session", autouse=True)
def children_that_start_quickly() -> Iterator[None]:
    """Child processes of the engine are forked from a server that has loaded our modules too, as those of `Commands` are."""
    with pytest.MonkeyPatch.context() as session:
        session.setattr("superbench.system.processes.LIBRARIES", (*LIBRARIES, *OURS))
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's own feature store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """What a test draws without a generator of its own (initial weights, mostly) is the same in every run and order."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


# ---------------------------------------------------------------- commands


@dataclass(frozen=True)
class Started:
    """A command in a process, and process group, of its own."""

    process: Any
    arguments: tuple[str, ...]
    said: Path
    encoding: str

    def ended(self, seconds: float = 200) -> subprocess.CompletedProcess[str]:
        """Its status and what it said, when it has ended."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise subprocess.TimeoutExpired(self.arguments, seconds, *self._printed())
        return subprocess.CompletedProcess(self.arguments, self.process.exitcode, *self._printed())

    def _printed(self) -> tuple[str, str]:
        out, err = (self.said / name for name in ("stdout", "stderr"))
        return out.read_text(self.encoding), err.read_text(self.encoding)


class Commands:
    """`superbench ARGUMENTS` by its entry point, in processes forked from one that has loaded the libraries and our modules.

    Such a command needs no seconds to import torch; how it starts from nothing is seen by tests that use `subprocess`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([*LIBRARIES, "rich.table", *OURS, *TASKS])

    def __call__(self, *arguments: str, **where: Any) -> subprocess.CompletedProcess[str]:
        """Run to the end; `where` as for `start`."""
        return self.start(*arguments, **where).ended()

    def start(self, *arguments: str, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> Started:
        """Start in `folder` and `environment`, which default to those of the test."""
        said = Path(tempfile.mkdtemp(dir=self.root))
        request: dict[str, Any] = {
            "arguments": arguments,
            "folder": str(folder or Path.cwd()),
            "environment": dict(environment or os.environ),
            "said": said,
        }
        child = str(Path(__file__).with_name("forked.py"))
        process = self.context.Process(target=runpy.run_path, args=(child, {"asked": request}))
        process.start()
        return Started(process, arguments, said, request["environment"].get("PYTHONIOENCODING", "utf-8"))


@pytest.fixture(scope="session")
def call(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """`call("list", "tasks")` is what `superbench list tasks` did."""
    return Commands(tmp_path_factory.mktemp("commands"))
