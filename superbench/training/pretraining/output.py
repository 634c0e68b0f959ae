"""Output files of a pretraining: one process at a time, disk space checked before the start, files of other runs protected.

A run is described by text facts (model, steps, seed, sound, ...), which are stored in its files. Two runs differ if any of
these facts differs.
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
"""The facts of a checkpoint lie within its first so many bytes."""


class OutputFiles:
    """The checkpoint `out`, and the files next to it during training: `OUT.resume`, `OUT.lock`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.resume = out.with_name(out.name + ".resume")
        self.lock = out.with_name(out.name + ".lock")
        self.former: Path | None = None
        self.damaged: Path | None = None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the output within the context, and delete incomplete files that killed processes left.

        Raises `CommandError` if another process holds the lock, or if the folder cannot be written.
        """
        require_place(self.out, f"--out {self.out}")
        with locked(self.lock, wait=False) as mine:
            if not mine:
                raise CommandError(f"Another process is pretraining into {self.out}. Wait for it, or choose another --out.")
            written = "|".join(re.escape(path.name) for path in (self.out, self.resume, self.out.with_suffix(".csv")))
            half = re.compile(rf"\.({written})\.[a-z0-9_]{{8}}")  # the temporary names of `files.whole`
            for left in self.out.parent.iterdir():
                if half.fullmatch(left.name):
                    left.unlink(missing_ok=True)
            try:
                yield
            finally:
                self.lock.unlink(missing_ok=True)

    def made(self, run: Run, replace: bool) -> bool:
        """Return whether the finished checkpoint of this run exists. Raises `CommandError` for files of another run, unless
        `replace`.

        If only the content of the audio files has changed since the checkpoint was written, it moves to `former`. A damaged
        checkpoint of superbench moves to `damaged`. In both cases training starts again. A damaged resume file is ignored
        here; the training loop reports it and starts from the first update.
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
        """Raise `StoreError` unless the disk has space for a checkpoint of `weights` bytes and for two resume files."""
        needed, free = weights * (1 + 2 * 3), shutil.disk_usage(self.out.parent).free
        if free < needed:
            raise StoreError(
                f"{self.out.parent} has {free / 1e9:.1f} GB free; training writes up to {needed / 1e9:.1f} GB there (the "
                "checkpoint, and two resume files with weights and moments). Free some space, or choose another --out."
            )

    def _belongs(self, file: Path, run: Run, replace: bool) -> bool:
        earlier = run_of(file)
        if earlier == run:
            return True
        if not replace and earlier and _exchanged(earlier, run):
            if file == self.out:
                content = hashlib.sha256(earlier["sound"].encode()).hexdigest()[:8]
                self.former = file.with_name(f"{file.stem}.former-{content}{file.suffix}")
                file.replace(self.former)
            return False
        if not replace:
            raise CommandError(
                f"{file} exists already, and {differences(earlier, run)}. Repeat the command that wrote it, choose another "
                "--out, or add --replace to train again and overwrite it."
            )
        return False


def _exchanged(earlier: Run, run: Run) -> bool:
    """Return whether two runs differ only in the content of their audio files, under the same file names."""
    return {**earlier, "sound": ""} == {**run, "sound": ""}


def _is_damaged(file: Path) -> bool:
    try:
        load_tensors(file)
    except DamagedFile:
        return True
    except StoreError:  # unreadable, but not known to be damaged
        return False
    return False


def _is_ours(file: Path) -> bool:
    """Return whether a file starts like a checkpoint of superbench, or is empty; the rest may be damaged."""
    with file.open("rb") as opened:
        start = opened.read(HEADER)
    return not start or b'"superbench"' in start


def run_of(file: Path) -> Run | None:
    """Return the facts of the run that wrote a file; None if the file is not from superbench, or contains no facts."""
    try:
        facts = load_tensors(file)[1]
        return json.loads(facts.get("run") or facts["identity"])
    except (StoreError, KeyError, ValueError):
        return None


def differences(earlier: Run | None, run: Run) -> str:
    """Describe how the run that wrote a file (None: unknown) differs from the requested run."""
    if earlier is None:
        return "does not record how it was made (it is from another program or an older version, or it is damaged)"
    different = [key for key in {**run, **earlier} if earlier.get(key) != run.get(key)]
    return "was made by another run: " + "; ".join(
        f"{key} {earlier.get(key, 'unknown')} in the file, {run.get(key, 'unknown')} now" for key in different
    )
