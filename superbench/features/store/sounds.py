"""Facts about sound files: a digest of their bytes, and their length. A file is read once, and again after a change.

A file is recognised by its path and its stamp: size, modification time (mtime), change time (ctime), inode. Unlike mtime, ctime
cannot be set back, so a file that was replaced by another of the same size and date is read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from superbench.features.store.index import VERSION, Index

REMEMBERED_AT_ONCE = 500
"""Number of sound files whose digests are written in one transaction."""

Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Sound:
    """Facts about a sound file: digest of its bytes, samples at its own rate, and that rate (Hz)."""

    digest: str
    samples: int
    rate: int


def sounds_at(root: Path) -> Callable[[Sequence[Path]], list[Sound]]:
    """Returns a function that reads facts about sound files with the store at `root`; it creates no store and changes none."""
    file = root / "index.sqlite"
    index = Index(file, read_only=True) if file.is_file() else None
    return partial(known_sounds, index if index and index.version == VERSION else None, remember=False)


def known_sounds(index: Index | None, paths: Sequence[Path], *, remember: bool = True) -> list[Sound]:
    """Returns facts about sound files, from the index or read now; raises `BadAudio` for a file that cannot be used."""
    memory = index if remember else None
    from superbench.data.audio import header

    known = index.known("sounds", list({str(path) for path in paths})) if index else {}
    fresh: dict[str, tuple] = {}
    for path in paths:
        text, stamp = str(path), _stamp(path)
        if text not in known or known[text][:4] != stamp:
            samples, rate = header(path)
            digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
            known[text] = (*stamp, digest, samples, rate)
            fresh[text] = (text, *known[text])
        if len(fresh) == REMEMBERED_AT_ONCE:  # an interruption loses no more than these
            _remember(memory, fresh)
    _remember(memory, fresh)
    return [Sound(*known[str(path)][4:]) for path in paths]


def _remember(index: Index | None, sounds: dict[str, tuple]) -> None:
    if sounds and index:
        with index.transaction():
            index.put("sounds", list(sounds.values()))
    sounds.clear()


def _stamp(path: Path) -> Stamp:
    from superbench.data.audio import header

    try:
        status = path.stat()
    except OSError:
        header(path)  # raises a `BadAudio` with a clear message
        raise
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
