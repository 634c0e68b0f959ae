"""A user of a container may be a number without a name and without a home folder."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest

from superbench.contract.paths import expanded
from superbench.errors import CommandError
from superbench.features.store import default_root
from superbench.plugins import parse
from superbench.system.user import settle


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Runs this process as a user without a name; returns the folder of temporary files."""

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    def homeless(text: str) -> str:
        return os.environ.get("HOME", "~") + text[1:] if text.partition("/")[0] == "~" else text

    for name in ("HOME", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "NUMBA_CACHE_DIR"):
        monkeypatch.setenv(name, "to be put back")  # also what the code under test sets
        monkeypatch.delenv(name)
    monkeypatch.setattr(getpass, "getuser", unknown)
    monkeypatch.setattr(os.path, "expanduser", homeless)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_default_store_needs_a_home_or_a_cache_folder(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        with pytest.raises(CommandError, match=r"has no home folder to keep features in\. Give --store DIR"):
            default_root()
        settle()  # changes what libraries see, not what is said
    monkeypatch.setenv("XDG_CACHE_HOME", str(nobody / "cache"))
    assert default_root() == nobody / "cache" / "superbench"


def test_libraries_get_a_folder_that_is_this_users_alone(nobody: Path) -> None:
    settle()
    folder = nobody / f"superbench-{os.getuid()}"
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder / "torchinductor")
    assert os.environ["HOME"] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_home_that_cannot_be_written_gets_one_for_compiled_code(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(nobody / "absent"))
    settle()
    assert os.environ["NUMBA_CACHE_DIR"] == str(nobody / f"superbench-{os.getuid()}" / "numba")


def test_a_person_keeps_what_is_theirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USER", "alice")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    settle()
    assert os.environ["HOME"] == str(tmp_path)
    assert not {"TORCHINDUCTOR_CACHE_DIR", "NUMBA_CACHE_DIR"} & os.environ.keys()
    assert expanded("~/model.py") == tmp_path / "model.py"


@pytest.mark.parametrize("path", ["~/model.safetensors", "~nobody-has-this-name/model.safetensors"])
def test_a_home_that_is_not_there_is_said(path: str, nobody: Path) -> None:
    for _ in range(2):
        with pytest.raises(CommandError, match="there is no such home folder"):
            parse(f"apc@{path}")
        settle()
