"""A shard: one safetensors file of features, and the check that it is unchanged.

Hashing a file takes longer than reading it. So a file whose hash was verified once is recognised by its stamp: size,
modification time, inode. Any later change (a flipped byte, truncation, a replaced file) changes the stamp; then the bytes are
hashed again before they are read. Disk errors without a write keep the stamp: only hashing all files finds them, as
`superbench store verify` does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superbench.errors import StoreError

if TYPE_CHECKING:
    from torch import Tensor

    from superbench.features.quantized import Rows


class Damaged(Exception):
    """The file of a shard differs from what was written; the message is the reason. Used only inside the store."""


@dataclass(frozen=True, slots=True)
class Written:
    """Facts about a shard's file in the index: its size in bytes, its checksum, and the stamp at which it was verified."""

    bytes: int
    checksum: str
    stamp: str | None


def place(root: Path, name: str) -> Path:
    """Returns the path of a shard's file in the store at `root`."""
    return root / "shards" / name[:2] / f"{name}.safetensors"


def written(path: Path) -> Written:
    """Returns size, checksum and stamp of a file that was just written.

    Its modification time is set in nanoseconds. The kernel's clock may advance only every 4 ms, so a second write within this
    time would not change the modification time.
    """
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    return Written(path.stat().st_size, checksum(path), stamp(path))


def stamp(path: Path) -> str:
    """Returns size, modification time (nanoseconds) and inode of a file as text."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def checksum(path: Path) -> str:
    """Returns the BLAKE2b-128 digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def proved(path: Path, known: Written, *, hashing: bool = False) -> str:
    """Returns the present stamp of a verified file; with `hashing`, the bytes are hashed even if the stamp is unchanged.

    Raises `Damaged`, or `StoreError` if the file cannot be read.
    """
    try:
        size, current = path.stat().st_size, stamp(path)
        if size != known.bytes:
            raise Damaged(f"it has {size} bytes, {known.bytes} were written")
        if (hashing or current != known.stamp) and checksum(path) != known.checksum:
            raise Damaged("its bytes are not those that were written")
    except FileNotFoundError as error:
        raise Damaged("the file is not there") from error
    except OSError as error:
        text = f"The stored features {path} cannot be read: {error.strerror}. Check the permissions of the file, and the disk."
        raise StoreError(text) from error
    return current


FORMATS = {"F32": "float32", "F16": "float16", "I8": "int8"}
"""Format of a shard by the type of its values in the header."""


def opened(path: Path) -> Rows:
    """Returns the rows (rows, layer, dim) as a view of the mapped file; raises `Damaged` for an unreadable header."""
    from superbench.features.quantized import Quantized

    with _file(path, "pt") as file:
        _format(file)
        values = file.get_slice("values")[:]
        return Quantized(values, file.get_slice("scales")[:]) if "scales" in file.keys() else values  # noqa: SIM118


def tensors(values: Sequence[Rows]) -> dict[str, Tensor]:
    """Returns the content of a shard's file: `values`, and `scales` if these are in 8 bits. All are of one format, but for
    frames in single precision among frames in half precision."""
    import torch

    from superbench.features.quantized import Quantized

    if all(isinstance(rows, Quantized) for rows in values):
        parts = [(rows.values, rows.scales) for rows in values if isinstance(rows, Quantized)]
        return {"values": torch.cat([part[0] for part in parts]), "scales": torch.cat([part[1] for part in parts])}
    return {"values": torch.cat([rows for rows in values if isinstance(rows, torch.Tensor)])}


def format_of(path: Path) -> str:
    """Returns the format of a shard's values, or `unreadable`."""
    try:
        return header(path)[0]
    except Damaged:
        return "unreadable"


def header(path: Path) -> tuple[str, int]:
    """Returns the format of a shard's values (`float32`, `float16` or `int8`) and the number of its rows; raises `Damaged`."""
    with _file(path, "np") as file:
        return _format(file), file.get_slice("values").get_shape()[0]


def _format(file: Any) -> str:
    """Returns the format of an opened shard; raises `Damaged` if values and scales do not belong together."""
    values = file.get_slice("values")
    kind, shape = str(values.get_dtype()), list(values.get_shape())
    if (kind == "I8") != ("scales" in file.keys()):  # noqa: SIM118
        raise Damaged("it has scales but no values in 8 bits, or such values but no scales")
    if kind == "I8" and list(file.get_slice("scales").get_shape()) != [*shape[:-1], 1]:
        raise Damaged("the numbers of its values and scales differ")
    return FORMATS.get(kind, kind)


@contextlib.contextmanager
def _file(path: Path, framework: str) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework) as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise Damaged(f"its header cannot be read ({error})") from error
