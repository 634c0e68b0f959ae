"""Remembers which shard, and then which sound, a process worked on when it died.

A process that computes a shard writes a record, and removes it when it has finished or has raised an exception. A record that
is still there tells that its process died, for example in the decoder of a broken file. A shard at which two processes of one
run died is first computed sound by sound, and the record says at which; if a third process dies, that sound is named. Deaths of
other runs do not count: whoever ends a run also ends its processes.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from superbench.errors import BadAudio, BadUpstream

ATTEMPTS = "attempts"
"""Folder of the records in a store."""
Stage = Literal["", "decode", "model", "batch"]
DEATHS = 2
"""After so many deaths at a shard, its sounds are tried one by one."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a process at work on a shard writes: the name of its run, how many processes of that run died at the shard before,
    and with `stage` what it does now with `sound`."""

    run: str
    deaths: int = 0
    stage: Stage = ""
    sound: str = ""


@dataclass(slots=True)
class Attempt:
    """The attempt of this process at a shard."""

    file: Path
    record: Record
    fatal: Record | None = None
    removed: bool = field(default=True, init=False)

    @property
    def careful(self) -> bool:
        """Whether so many processes died here that each sound must be tried alone."""
        return self.record.deaths >= DEATHS

    def now(self, stage: Stage, sound: Path) -> None:
        """Records what is done next; a full disk does not stop it."""
        self.record = replace(self.record, stage=stage, sound=str(sound))
        self.write()

    def write(self) -> None:
        """Writes the record."""
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(json.dumps(asdict(self.record)), encoding="utf-8")

    def require_harmless(self, alias: str) -> None:
        """Raises `BadAudio` or `BadUpstream` that names the sound at which three processes of this run died."""
        if self.fatal is None:
            return
        self.removed = False  # another job of this run that needs the shard fails at once
        sound, times = self.fatal.sound, f"{DEATHS + 1} processes of this run died"
        if self.fatal.stage == "decode":
            raise BadAudio(f"{sound} cannot be decoded: {times} at it. Compare the file with the corpus as published.")
        if self.fatal.stage == "model":
            raise BadUpstream(
                f"{alias} cannot compute features of {sound}: {times} at it, in the code of the model. Correct it."
            )
        raise BadUpstream(
            f"{alias} cannot compute a batch that begins with {sound}: {times} at it, although each of its sounds passes "
            "alone. Probably memory was exhausted: use fewer --workers, and run the same command again; it continues from here."
        )


@dataclass(frozen=True, slots=True)
class Attempts:
    """The records in a folder of a store. `run`: the name of this run; without a name, nothing is recorded."""

    folder: Path
    run: str = ""

    @contextlib.contextmanager
    def at(self, shard: str) -> Iterator[Attempt]:
        """Records an attempt at a shard during the block; this process must hold the lock of the shard."""
        file = self.folder / shard
        if not self.run:
            yield Attempt(file, Record(""))
            return
        earlier = self._earlier(file)
        attempt = Attempt(file, Record(self.run, earlier.deaths + 1 if earlier else 0))
        if earlier is not None and earlier.stage:
            attempt.fatal = earlier
        else:
            attempt.write()
        try:
            yield attempt
        finally:
            if attempt.removed:
                with contextlib.suppress(OSError):
                    file.unlink(missing_ok=True)

    def left(self) -> bool:
        """Returns whether a process of this run works at a shard, or died there."""
        files = list(self.folder.iterdir()) if self.folder.is_dir() else []
        return any(self._earlier(file) is not None for file in files)

    def _earlier(self, file: Path) -> Record | None:
        """Returns the record that a process of this run left when it died, or None."""
        try:
            record = Record(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError):  # it died while it wrote the record
            return Record(self.run)
        return record if record.run == self.run else None
