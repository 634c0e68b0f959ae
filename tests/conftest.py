"""Small worlds for the tests: the plugin's tones as a corpus, a store, a silent reporter."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from superbench.reporting import Silence
from superbench.synthesis import synthesise

os.environ.setdefault("OMP_NUM_THREADS", "1")
PLUGIN = Path(__file__).parent / "plugin" / "superbench_tones.py"


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
def keyword_corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature of keyword spotting; nobody writes into it."""
    root = tmp_path_factory.mktemp("keywords")
    synthesise(root, 0, ["ks"], Silence())
    return root


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's own feature store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
