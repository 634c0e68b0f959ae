"""Where a pretraining writes: one process at a time, enough room before it starts, no file of another run overwritten.

A run is described by plain facts (model, steps, seed, sound, ...), which its files carry; those of another run are known by the
facts that differ.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from superbench.errors import CommandError, DamagedFile, StoreError
from superbench.system.files import load_tensors, require_place
from superbench.system.locks import locked

Run = Mapping[str, str]
HEADER = 2**20
"""Bytes within which the facts of a checkpoint stand."""


class OutputFiles:
    """`out`, and what stands beside it while the training goes on: `OUT.resume`, `OUT.lock`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.resume = out.with_name(out.name + ".resume")
        self.lock = out.with_name(out.name + ".lock")
        self.former: Path | None = None
        self.damaged: Path | None = None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other process writes here; what killed ones left half-written is swept away.

        Raises `CommandError` if another process is at work, or the folder cannot be written.
        """
        require_place(self.out, f"--out {self.out}")
        with locked(self.lock, wait=False) as mine:
            if not mine:
                raise CommandError(f"Another process is pretraining into {self.out}. Let it end, or choose another --out.")
            written = "|".join(re.escape(path.name) for path in (self.out, self.resume, self.out.with_suffix(".csv")))
            half = re.compile(rf"\.({written})\.[a-z0-9_]{{8}}")  # as files.whole calls them
            for left in self.out.parent.iterdir():
                if half.fullmatch(left.name):
                    left.unlink(missing_ok=True)
            try:
                yield
            finally:
                self.lock.unlink(missing_ok=True)

    def made(self, run: Run, replace: bool) -> bool:
        """Is the finished checkpoint of this very run there? Unless `replace`, raises `CommandError` for files of another.

        A checkpoint of the same run, made when other sound lay under the same names, moves to `former`; one of ours that does
        not hold what was written moves to `damaged`, and is made again. A file to resume from that is damaged is no hindrance:
        whoever would go on from it says so, and begins again.
        """
        if self.resume.is_file() and not _is_damaged(self.resume):
            self._belongs(self.resume, run, replace)
        if not self.out.exists():
            return False
        if _is_ours(self.out) and _is_damaged(self.out):
            self.damaged = self.out.replace(self.out.with_name(f"{self.out.name}.damaged"))
            return False
        return self._belongs(self.out, run, replace)

    def room(self, weights: int) -> None:
        """Raises `StoreError` unless the disk has room for a checkpoint of so many bytes and what it is resumed from, twice."""
        needed, free = weights * (1 + 2 * 3), shutil.disk_usage(self.out.parent).free
        if free < needed:
            raise StoreError(
                f"{self.out.parent} has {free / 1e9:.1f} GB free; training writes up to {needed / 1e9:.1f} GB there (the "
                "checkpoint, and twice the weights with their moments on the way). Free some space, or choose another --out."
            )

    def _belongs(self, file: Path, run: Run, replace: bool) -> bool:
        found = run_of(file)
        if found == run:
            return True
        if not replace and found and _exchanged(found, run):
            if file == self.out:
                content = hashlib.sha256(found["sound"].encode()).hexdigest()[:8]
                self.former = file.with_name(f"{file.stem}.former-{content}{file.suffix}")
                file.replace(self.former)
            return False
        if not replace:
            raise CommandError(
                f"{file} is there already, and {differences(found, run)}. Repeat the command that made it, choose another "
                "--out, or add --replace to train anew in its place."
            )
        return False


def _exchanged(found: Run, run: Run) -> bool:
    """Do two runs differ in nothing but what lay under the same names?"""
    return {**found, "sound": ""} == {**run, "sound": ""}


def _is_damaged(file: Path) -> bool:
    try:
        load_tensors(file)
    except DamagedFile:
        return True
    except StoreError:  # it may be whole, and cannot be read
        return False
    return False


def _is_ours(file: Path) -> bool:
    """Does a file begin as superbench's checkpoints do, whatever became of the rest? One that is empty is nobody's."""
    with file.open("rb") as opened:
        start = opened.read(HEADER)
    return not start or b'"superbench"' in start


def run_of(file: Path) -> Run | None:
    """The facts of the run that made a file; None if it is not one of ours, or says nothing."""
    try:
        facts = load_tensors(file)[1]
        return json.loads(facts.get("run") or facts["identity"])
    except (StoreError, KeyError, ValueError):
        return None


def differences(found: Run | None, run: Run) -> str:
    """In words, how the run that made a file differs from the one that was asked for."""
    if found is None:
        return "does not say how it was made (another program's, an older version's, or damaged)"
    different = [key for key in {**run, **found} if found.get(key) != run.get(key)]
    return "was made by another run: " + "; ".join(
        f"{key} {found.get(key, 'not known')} there, {run.get(key, 'not known')} here" for key in different
    )
