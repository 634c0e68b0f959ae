"""File locks: one holder at a time; a file system without locks is an error before any work."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from superbench.board.board import Board
from superbench.errors import CommandError, StoreError, SuperbenchError
from superbench.features.store import Store
from superbench.runs.runner import run
from superbench.system.locks import held, locked, require_locks
from superbench.system.progress import Silence
from superbench.training.pretraining.pretrain import pretrain

UNSUPPORTED = [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL]


@pytest.fixture(params=UNSUPPORTED, ids=errno.errorcode.__getitem__)
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """`without_locks(folder)`: makes `flock` fail in `folder`, as on a file system without locks."""
    real = fcntl.flock

    def refuse(folder: Path) -> None:
        def flock(file: Any, how: int) -> None:
            if str(folder) in str(file.name):
                raise OSError(request.param, os.strerror(request.param))
            real(file, how)

        monkeypatch.setattr(fcntl, "flock", flock)

    return refuse


def sentence(error: SuperbenchError, folder: Path) -> bool:
    text = str(error)
    return str(folder) in text and "has no file locks" in text and "Choose a folder on another disk" in text


def test_a_lock_has_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not held(path)
    with locked(path, wait=True) as mine:
        assert mine
        assert held(path)
        with locked(path, wait=False) as second:
            assert not second
    assert not held(path)
    with locked(path, wait=False) as again:
        assert again


def test_a_lock_that_cannot_be_made_names_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match=r"absent.lock cannot be created: No such file"),
        locked(tmp_path / "absent" / "lock", wait=True),
    ):
        pass


def test_a_folder_is_left_as_it_was_found(tmp_path: Path) -> None:
    require_locks(tmp_path / "a" / "b", "--out a/b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("option", ["out", "store"])
def test_a_run_says_before_any_work_that_a_disk_has_no_locks(
    option: str, without_locks: Callable[[Path], None], keyword_corpora: Path, tmp_path: Path
) -> None:
    folders = {"out": tmp_path / "results", "store": tmp_path / "features"}
    without_locks(folders[option])
    with pytest.raises(CommandError) as caught:
        run(["mfcc"], "ks", data=keyword_corpora, workers=1, **folders)
    assert str(caught.value).startswith(f"--{option} {folders[option]}: ")
    assert sentence(caught.value, folders[option])
    assert not list(tmp_path.rglob("*.json*")) + list(tmp_path.rglob("*.safetensors"))


def test_pretraining_a_board_and_a_store_say_so_too(without_locks: Callable[[Path], None], tmp_path: Path) -> None:
    without_locks(tmp_path)
    calls: list[Callable[[], object]] = [
        lambda: pretrain("apc", tmp_path, tmp_path / "apc.safetensors", steps=1, seed=0, device="cpu", reporter=Silence()),
        lambda: Board(str(tmp_path / "board")).storage.writing().__enter__(),
        lambda: Store(tmp_path / "store"),
    ]
    for call in calls:
        with pytest.raises(SuperbenchError) as caught:
            call()
        assert sentence(caught.value, tmp_path)


def test_asking_for_a_lock_that_is_held_says_so_too(without_locks: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    without_locks(tmp_path)
    with pytest.raises(StoreError, match="has no file locks"):
        held(tmp_path / "lock")
