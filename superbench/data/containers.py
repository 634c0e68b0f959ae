"""Compares the length that the header of an uncompressed file declares with the length of the file.

RIFF, RIFX and RF64 wav, W64, AIFF and AIFC, AU, CAF and SPHERE declare the bytes of sound before the sound. libsndfile reads a
truncated file without an error, and nothing if a writer on a pipe did not know the length. This module raises an error for a
truncated file, and replaces an unknown length by that of the file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from superbench.errors import BadAudio

UNKNOWN = (0x7F000000, 2**31, 2**32, 2**63, 2**64)
"""Writers that do not know the length yet declare about so many bytes: SoX 0x7ffff000 (AIFF: 0x7f000000), arecord 0x7fffff00,
others 0x80000000 or 0x7ffffffe, ffmpeg 0xffffffff minus the bytes before the sound, each minus part of a frame; AU, CAF -1."""
NEAR = 2**16

W64_START = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb"
SPHERE_START = b"NIST_1A\n"


@dataclass(frozen=True, slots=True)
class Extent:
    """The sound of a file: its `start`, its declared `size` (bytes), and the field of that size: its offset `position`, its
    `struct` form `form`, and the number of other bytes that it counts, `besides`.
    `chunk`: form of a chunk's name and size, if chunks may follow."""

    start: int
    size: int
    position: int
    form: str
    besides: int = 0
    chunk: str = ""


def mended(path: Path, file: BinaryIO, start: int, length: int) -> bytes | None:
    """Returns None if a file of `length` bytes, with a container at `start`, has the declared size (or another format).

    If the length was not known when the file was written, returns its bytes with the correct length. Raises `BadAudio` for a
    truncated file, and if another sound follows, which libsndfile would not read.
    """
    extent = _extent(path, file, start, length)
    if extent is None:
        return None
    present = max(length - extent.start, 0)
    if extent.size > present and not _unknown(extent.size):
        raise BadAudio(
            f"{path} is cut off: its header declares {extent.size} bytes of sound, the file has {present}. "
            "Fetch the file again."
        )
    padding = extent.size % 2 if extent.chunk else 0
    follows = _at(file, extent.start + extent.size + padding, 12) if extent.size <= present else b""
    if is_container(follows) and extent.size == 0:
        raise BadAudio(
            f"{path} contains its header several times, as sox writes W64 and CAF to a pipe, and not the length of its sound. "
            "Write it again, to a file or as wav."
        )
    if is_container(follows):
        raise BadAudio(
            f"{path} contains several sounds; only the first, {extent.size} bytes long, would be read. Join them with an "
            "audio program (sox a.wav b.wav both.wav), or make a file of each and list them."
        )
    if 0 < extent.size <= present or not present or (extent.size == 0 and _is_chunk(extent, follows, present)):
        return None
    content = bytearray(_at(file, 0, length))
    largest = 2 ** (8 * struct.calcsize(extent.form)) - 1
    struct.pack_into(extent.form, content, extent.position, min(present + extent.besides, largest))
    return bytes(content)


def is_container(start: bytes) -> bool:
    """Returns True if these first bytes (12 are enough) begin one of the formats of this module."""
    return _reader(start) is not None


def _reader(start: bytes) -> Callable[[Path, BinaryIO, int, int], Extent | None] | None:
    if start[:4] in (b"RIFF", b"RIFX", b"RF64") and start[8:12] == b"WAVE":
        return _wav
    if start[:4] == b"FORM" and start[8:12] in (b"AIFF", b"AIFC"):
        return _aiff
    if start[:4] in (b".snd", b"dns."):
        return _au
    if start[:4] == b"caff":
        return _caf
    if start[:8] == SPHERE_START:
        return _sphere
    return _w64 if start[:12] == W64_START else None


def _extent(path: Path, file: BinaryIO, start: int, length: int) -> Extent | None:
    reader = _reader(_at(file, start, 12))
    if reader is None:
        return None
    extent = reader(path, file, start, length)
    if extent is None:
        raise BadAudio(f"{path} is cut off: it ends before any sound ({length} bytes). Fetch the file again.")
    return extent


def _unknown(size: int) -> bool:
    return any(abs(size - limit) <= NEAR for limit in UNKNOWN)


def _is_chunk(extent: Extent, follows: bytes, present: int) -> bool:
    """After an empty chunk of sound: returns True for another chunk, False for sound of unknown length."""
    if not extent.chunk or len(follows) < struct.calcsize(extent.chunk):
        return False
    name, size = struct.unpack_from(extent.chunk, follows)
    return re.fullmatch(rb"[ -~]{4}", name) is not None and 8 + size <= present + 1


def _at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    parts = []
    while count and (part := file.read(count)):  # an unbuffered file may return fewer bytes than requested
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _chunks(file: BinaryIO, position: int, length: int, form: str, even: bool = True) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, size and offset of the content of each chunk."""
    head = struct.calcsize(form)
    while position + head <= length:
        name, size = struct.unpack(form, _at(file, position, head))
        yield name, size, position + head
        position += head + size + (size % 2 if even else 0)


def _wav(path: Path, file: BinaryIO, start: int, length: int) -> Extent | None:
    magic = _at(file, start, 4)
    order = ">" if magic == b"RIFX" else "<"
    form, long = order + "4sI", None
    for name, size, position in _chunks(file, start + 12, length, form):
        if name == b"ds64" and magic == b"RF64" and position + 16 <= length:
            long = (*struct.unpack("<Q", _at(file, position + 8, 8)), position + 8)
        if name == b"data":
            if long and size == 0xFFFFFFFF:
                return Extent(position, long[0], long[1], "<Q", chunk=form)
            return Extent(position, size, position - 4, order + "I", chunk=form)
    return None


def _w64(path: Path, file: BinaryIO, start: int, length: int) -> Extent | None:
    position = start + 40
    while position + 24 <= length:
        name, size = struct.unpack("<16sQ", _at(file, position, 24))
        if name[:4] == b"data":
            return Extent(start=position + 24, size=max(size - 24, 0), position=position + 16, form="<Q", besides=24)
        position += max(size + 7 & ~7, 24)
    return None


def _aiff(path: Path, file: BinaryIO, start: int, length: int) -> Extent | None:
    for name, size, position in _chunks(file, start + 12, length, ">4sI"):
        if name == b"SSND" and position + 8 <= length:
            offset = int.from_bytes(_at(file, position, 4), "big")
            return Extent(
                start=position + 8 + offset,
                size=max(size - 8 - offset, 0),
                position=position - 4,
                form=">I",
                besides=8 + offset,
                chunk=">4sI",
            )
    return None


def _au(path: Path, file: BinaryIO, start: int, length: int) -> Extent | None:
    order = "<" if _at(file, start, 4) == b"dns." else ">"
    head = _at(file, start + 4, 8)
    if len(head) < 8:
        return None
    offset, size = struct.unpack(order + "II", head)
    return Extent(start + offset, size, start + 8, order + "I")


def _caf(path: Path, file: BinaryIO, start: int, length: int) -> Extent | None:
    for name, size, position in _chunks(file, start + 8, length, ">4sQ", even=False):
        if name == b"data" and position + 4 <= length:
            return Extent(start=position + 4, size=max(size - 4, 0), position=position - 8, form=">Q", besides=4)
    return None


def _sphere(path: Path, file: BinaryIO, start: int, length: int) -> Extent | None:
    """SPHERE of NIST: a header of text lines, whose second line is its size, then the samples."""
    size = _at(file, start + 8, 8).strip()
    if not size.isdigit() or start + int(size) > length:
        return None
    lines = _at(file, start, int(size)).partition(b"\nend_head")[0].splitlines()[2:]
    facts = {words[0]: words[2] for line in lines if len(words := line.split(None, 2)) == 3}
    if b"," in facts.get(b"sample_coding", b""):
        coding = facts[b"sample_coding"].decode("ascii", "replace")
        raise BadAudio(
            f"{path} is a SPHERE file with {coding}, which superbench does not read. Convert it with sph2pipe: -f wav."
        )
    numbers = [facts.get(name, b"") for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    if not all(number.isdigit() for number in numbers):
        return Extent(start + int(size), length - start - int(size), 0, "")
    samples, channels, width = map(int, numbers)
    declared = samples * channels * width
    return Extent(start + int(size), declared or length - start - int(size), 0, "")
