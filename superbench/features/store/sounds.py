"""What is known of sound files: a digest of their bytes, and their length. Bytes are read once for each state of a file.

A file is known by its path and its stamp: size, times of modification and of change, inode. The time of change cannot be set
back as the time of modification can, so a file that was exchanged for another of the same size and date is read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from superbench.features.store.index import VERSION, Index

REMEMBERED_AT_ONCE = 500
"""Sound files whose digests are written in one go."""

Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Sound:
    """Facts of a sound file: digest of its bytes, samples at its own rate, that rate."""

    digest: str
    samples: int
    rate: int


def sounds_at(root: Path) -> Callable[[Sequence[Path]], list[Sound]]:
    """Reads the facts of sound files as the store at `root` knows them; where there is no store, none is made."""
    file = root / "index.sqlite"
    index = Index(file, read_only=True) if file.is_file() else None
    return partial(known_sounds, index if index and index.version == VERSION else None, remember=False)


def known_sounds(index: Index | None, paths: Sequence[Path], *, remember: bool = True) -> list[Sound]:
    """The facts of sound files, from the index or read now; raises `BadAudio` for one that cannot be used."""
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
        if len(fresh) == REMEMBERED_AT_ONCE:  # a kill costs no more than these
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
        header(path)  # raises the error that a person can read
        raise
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
