"""File locks: one holder at a time; leases take their place on a file system without locks."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from superbench.board.board import Board
from superbench.errors import StoreError
from superbench.features.store import Store
from superbench.runs.jobs import Job, NoWatcher
from superbench.runs.runner import run
from superbench.system import leases
from superbench.system.locks import held, lock, locked, require_locks
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
def test_a_run_goes_on_with_leases_on_a_disk_without_locks_and_says_so(
    option: str, without_locks: Callable[[Path], None], keyword_corpora: Path, tmp_path: Path
) -> None:
    folders = {"out": tmp_path / "results", "store": tmp_path / "features"}
    without_locks(folders[option])
    watcher = Remarks()
    for state in ("done", "found"):
        report = run(["mfcc"], "ks", data=keyword_corpora, workers=1, max_steps=4, watcher=watcher, **folders)
        assert [ended.state for ended in report.ended] == [state]
    assert sum(f"{folders[option]} has no file locks" in remark for remark in watcher.texts) == 2
    assert not list(folders[option].rglob(".lease-*"))


class Remarks(NoWatcher):
    """Keeps the remarks of a run."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, job: Job, text: str) -> None:
        self.texts.append(text)


@pytest.mark.slow
def test_pretraining_a_board_and_a_store_go_on_too(without_locks: Callable[[Path], None], tmp_path: Path, audio: Path) -> None:
    without_locks(tmp_path)
    pretrain("apc:nano", audio, tmp_path / "apc.safetensors", steps=1, seed=0, device="cpu", reporter=Silence())
    assert (tmp_path / "apc.safetensors").is_file()
    with Board(str(tmp_path / "board")).storage.writing():
        assert list((tmp_path / "board").glob(".lease-*"))
    with Store(tmp_path / "store") as store:
        store.add("a" * 32, [b"key"], [torch.ones(1, 1, 2)])
        with Store(tmp_path / "store") as other:
            assert set(other.find([b"key"])) == {b"key"}


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """A folder with two sounds."""
    folder = tmp_path / "speech"
    folder.mkdir()
    for number in range(2):
        soundfile.write(folder / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 32_000), 16_000)
    return folder


# ---------------------------------------------------------------- leases


def test_a_lease_has_one_holder_at_a_time(without_locks: Callable[[Path], None], tmp_path: Path) -> None:
    without_locks(tmp_path)
    test_a_lock_has_one_holder_at_a_time(tmp_path)


@pytest.mark.slow
def test_the_lease_of_a_process_ends_with_it_on_the_same_machine(without_locks: Callable[[Path], None], tmp_path: Path) -> None:
    without_locks(tmp_path)
    child = os.fork()
    if child == 0:
        lock(tmp_path / "lock", wait=True)
        os._exit(0)
    os.waitpid(child, 0)
    assert list(tmp_path.glob(".lease-lock"))
    assert not held(tmp_path / "lock")
    with locked(tmp_path / "lock", wait=False) as mine:
        assert mine


def test_the_lease_of_another_machine_ends_when_it_is_renewed_no_more(
    without_locks: Callable[[Path], None], tmp_path: Path
) -> None:
    without_locks(tmp_path)
    held(tmp_path / "lock")
    leases.mark(tmp_path)
    elsewhere = tmp_path / ".lease-lock"
    elsewhere.write_text("another-machine 1 abc")
    assert held(tmp_path / "lock")
    with locked(tmp_path / "lock", wait=False) as mine:
        assert not mine
    late = time.time() - 2 * leases.EXPIRY
    os.utime(elsewhere, (late, late))
    assert not held(tmp_path / "lock")
    with locked(tmp_path / "lock", wait=False) as mine:
        assert mine
        assert held(tmp_path / "lock")


@pytest.mark.slow
def test_a_lease_is_renewed_while_its_process_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leases.mark(tmp_path)
    with locked(tmp_path / "lock", wait=True):
        file = tmp_path / ".lease-lock"
        os.utime(file, (0, 0))
        deadline = time.monotonic() + 5 * leases.RENEWAL
        while file.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert file.stat().st_mtime > 0
