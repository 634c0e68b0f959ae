"""Work in a background process: its progress and its errors are forwarded, and it ends with the block."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest

from superbench.errors import CommandError, SuperbenchError
from superbench.system.background import in_background
from superbench.system.progress import Reporter


class Recorder:
    """A reporter that records its calls."""

    def __init__(self) -> None:
        self.progress: list[tuple[str, float, float]] = []
        self.notes: list[str] = []

    def advance(self, stage: str, done: float, total: float) -> None:
        self.progress.append((stage, done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)


def counted(upto: int, reporter: Reporter) -> None:
    for n in range(upto):
        reporter.advance("count", n + 1, upto)
    reporter.note(f"process {os.getpid()}")


def refused(reporter: Reporter) -> None:
    raise CommandError("no such thing")


def killed(reporter: Reporter) -> None:
    os.kill(os.getpid(), 9)


def endless(reporter: Reporter) -> None:
    reporter.note(str(os.getpid()))
    time.sleep(600)


@pytest.mark.slow
def test_progress_arrives_from_another_process_before_the_block_is_left() -> None:
    reporter = Recorder()
    with in_background(partial(counted, 3), reporter):
        pass
    assert reporter.progress == [("count", 1, 3), ("count", 2, 3), ("count", 3, 3)]
    assert reporter.notes != [f"process {os.getpid()}"]


def surroundings(reporter: Reporter) -> None:
    reporter.note(os.environ["WHO_ASKS"])


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["short", "too long for the name of a socket " * 4])
def test_the_process_has_the_environment_of_the_one_that_asks(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / folder).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None if folder == "short" else str(tmp_path / folder))
    for who in ("alice", "bob"):
        monkeypatch.setenv("WHO_ASKS", who)
        reporter = Recorder()
        with in_background(surroundings, reporter):
            pass
        assert reporter.notes == [who]


@pytest.mark.slow
def test_what_the_work_raised_is_raised_here() -> None:
    reporter = Recorder()

    def told() -> None:
        with in_background(refused, reporter):
            while not reporter.notes:  # before the block is left
                time.sleep(0.01)

    with pytest.raises(CommandError, match="no such thing"):
        told()
    assert reporter.notes[0].startswith("failed: no such thing")


@pytest.mark.slow
def test_a_process_that_dies_is_an_error() -> None:
    with pytest.raises(SuperbenchError, match="died"), in_background(killed, Recorder()):
        pass


def test_an_error_in_the_block_ends_the_work() -> None:
    reporter = Recorder()

    def broken() -> None:
        with in_background(endless, reporter):
            while not reporter.notes:
                time.sleep(0.01)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    with pytest.raises(ProcessLookupError):
        os.kill(int(reporter.notes[0]), 0)
