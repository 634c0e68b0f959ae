"""Facts about sound files: a digest of their bytes, and their length. A file is read once, and again after a change.

A file is recognised by its path and its stamp: size, modification time (mtime), change time (ctime), inode. Unlike mtime, ctime
cannot be set back, so a file that was replaced by another of the same size and date is read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from superbench.features.store.index import VERSION, Index
from superbench.system.cores import cores

REMEMBERED_AT_ONCE = 500
"""Number of sound files whose digests are written in one transaction."""
READ_AT_ONCE = 8
"""Number of sound files that a thread reads at once."""

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


def known_sounds(
    index: Index | None, paths: Sequence[Path], *, remember: bool = True, readers: int | None = None
) -> list[Sound]:
    """Returns facts about sound files, from the index or read now; raises `BadAudio` for a file that cannot be used.

    Files are read in `readers` threads; by default there are as many as cores.
    """
    known = index.known("sounds", list({str(path) for path in paths})) if index else {}
    stamps = {str(path): _stamp(path) for path in paths}
    new = [path for path in dict.fromkeys(map(str, paths)) if path not in known or known[path][:4] != stamps[path]]
    with ThreadPoolExecutor(min(readers or cores(), max(len(new), 1))) as pool:
        try:
            for at in range(0, len(new), REMEMBERED_AT_ONCE):  # an interruption loses no more than these
                some = new[at : at + REMEMBERED_AT_ONCE]
                parts = [some[start : start + READ_AT_ONCE] for start in range(0, len(some), READ_AT_ONCE)]
                facts = [row for part in pool.map(_facts, parts) for row in part]
                rows = {path: (*stamps[path], *row) for path, row in zip(some, facts, strict=True)}
                known |= rows
                if remember and index:
                    with index.transaction():
                        index.put("sounds", [(path, *row) for path, row in rows.items()])
        finally:
            pool.shutdown(cancel_futures=True)
    return [Sound(*known[str(path)][4:]) for path in paths]


def _facts(paths: Sequence[str]) -> list[tuple[str, int, int]]:
    """Reads files; returns of each the digest of its bytes, its length and its sampling rate."""
    from superbench.data.audio import header

    facts = []
    for path in map(Path, paths):
        samples, rate = header(path)
        facts.append((hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest(), samples, rate))
    return facts


def _stamp(path: Path) -> Stamp:
    from superbench.data.audio import header

    try:
        status = path.stat()
    except OSError:
        header(path)  # raises a `BadAudio` with a clear message
        raise
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
