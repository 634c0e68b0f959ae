"""A shard: one safetensors file of features, and how to know that it still holds what was written.

Hashing all of it takes long beside reading it, so a file whose hash was right once is recognised by its stamp: size, time of
change, inode. What changes a file after that (a flipped byte, a cut, a copy put in its place) changes the stamp, and
the bytes are hashed again before anything is read. Decay of the disk that no write caused leaves the stamp as it was: only
hashing everything finds it, which is what `superbench store verify` does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superbench.errors import StoreError

if TYPE_CHECKING:
    from torch import Tensor


class Damaged(Exception):
    """A shard's file is not what was written; says why. Stays among the modules of the store."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the index knows of a shard's file: its size in bytes, its checksum, and the stamp under which that was right."""

    bytes: int
    checksum: str
    stamp: str | None


def place(root: Path, name: str) -> Path:
    """Where the file of a shard lies in the store at `root`."""
    return root / "shards" / name[:2] / f"{name}.safetensors"


def written(path: Path) -> Written:
    """Measure a file that was just written.

    Its time of change is set to the nanosecond: the kernel's own clock may tick every 4 ms only, and a second write within
    the tick would leave it as it was.
    """
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    return Written(path.stat().st_size, checksum(path), stamp(path))


def stamp(path: Path) -> str:
    """Size, time of change (nanoseconds) and inode of a file."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def checksum(path: Path) -> str:
    """BLAKE2b-128 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def proved(path: Path, known: Written, *, hashing: bool = False) -> str:
    """The stamp under which the file is known to hold what was written; `hashing`: do not trust the one that is known.

    Raises `Damaged`, or `StoreError` for a file that may be whole and cannot be read.
    """
    try:
        size, found = path.stat().st_size, stamp(path)
        if size != known.bytes:
            raise Damaged(f"it has {size} bytes, {known.bytes} were written")
        if (hashing or found != known.stamp) and checksum(path) != known.checksum:
            raise Damaged("its bytes are not those that were written")
    except FileNotFoundError as error:
        raise Damaged("the file is not there") from error
    except OSError as error:
        text = (
            f"The stored features {path} cannot be read: {error.strerror}. See to the permissions of the file, or to the disk."
        )
        raise StoreError(text) from error
    return found


def opened(path: Path) -> Tensor:
    """The values (rows, layer, dim) as a view of the mapped file; raises `Damaged` for an unreadable header."""
    with _values(path, "pt") as values:
        return values[:]


def rows(path: Path) -> int:
    """How many rows a shard has, by its header; raises `Damaged` for an unreadable one."""
    with _values(path, "np") as values:
        return values.get_shape()[0]


@contextlib.contextmanager
def _values(path: Path, framework: str) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework) as file:
            yield file.get_slice("values")
    except (OSError, SafetensorError) as error:
        raise Damaged(f"its header cannot be read ({error})") from error
