"""Reads zip files from untrusted senders within bounds, and writes zip files reproducibly.

The bounds are checked before anything is unpacked. The members of a bundle follow each other, stored or deflated, with no bytes
before, between or after them. All other forms of zip files (encrypted, split, 64-bit, with links, with folders, with two names
for the same bytes) are refused. When written, the same files give the same bytes.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from superbench.errors import Malformed, TooLarge

_END = struct.Struct("<4s4H2LH")
_LOCAL = struct.Struct("<4s5H3L2H")
_OLDEST = (1980, 1, 1, 0, 0, 0)
_LINK, _KIND = 0o120000, 0o170000
_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits for reading an archive. Sizes in bytes; `ratio` is unpacked over packed size, not applied below one megabyte."""

    packed: int = 300_000_000
    unpacked: int = 600_000_000
    members: int = 64
    name: int = 100
    ratio: float = 200.0


BOUNDS = Bounds()
"""All ten tasks at their official size take about 20 MB packed and 70 MB unpacked, so forty tasks would fit."""


def packed(files: Mapping[str, bytes]) -> bytes:
    """Returns a zip file of `files`, in their order; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            compression = zipfile.ZIP_STORED if name.endswith(".gz") else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name, _OLDEST), data, compression)
    return buffer.getvalue()


def unpacked(data: bytes, is_allowed: Callable[[str], object], bounds: Bounds = BOUNDS) -> dict[str, bytes]:
    """Returns the members of a zip file by name; `is_allowed` returns whether a member may have this name.

    Raises `Malformed` or `TooLarge` before the first member is unpacked. A member with a false size is refused while it is
    unpacked.
    """
    if len(data) > bounds.packed:
        raise TooLarge(f"The bundle has {len(data) / 1e6:.0f} MB; at most {bounds.packed / 1e6:.0f} MB are read.", "size")
    start = _directory(data, bounds)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check(data, archive.infolist(), start, is_allowed, bounds)
            return {info.filename: _member(archive, info) for info in archive.infolist()}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise Malformed(f"This is not a bundle: {error}. Make one with `superbench submit`.", "not_a_bundle") from error


def _directory(data: bytes, bounds: Bounds) -> int:
    """Returns the offset of the list of members. Its size is checked first: a million empty members make a million records."""
    if len(data) < _END.size or data[-_END.size :][:4] != b"PK\5\6":
        raise Malformed(
            f"This is not a bundle: its {len(data)} bytes do not end like a zip file. Was the upload interrupted? "
            "Send the complete file that `superbench submit` made.",
            "not_a_bundle",
        )
    _, disk, first, on_disk, members, size, start, _ = _END.unpack(data[-_END.size :])
    if disk or first or on_disk != members or start + size != len(data) - _END.size:
        raise Malformed("This is not a bundle: its list of members is split, or not at the expected offset.", "not_a_bundle")
    if members > bounds.members or size > bounds.members * (46 + bounds.name + 36):
        raise TooLarge(f"The bundle lists {members} members or more; at most {bounds.members} are read.", "members")
    return int(start)


def _check(data: bytes, members: list[zipfile.ZipInfo], end: int, is_allowed: Callable[[str], object], bounds: Bounds) -> None:
    names = [info.filename for info in members]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Malformed(f"The bundle contains {twice[0][:100]!r} twice.", "duplicate_member")
    for info in members:
        if len(info.filename) > bounds.name or not is_allowed(info.filename) or info.filename != info.orig_filename:
            raise Malformed(
                f"The bundle contains a file with an unexpected name: {info.orig_filename[:100]!r}.", "strange_member"
            )
        if info.external_attr >> 16 & _KIND == _LINK:
            raise Malformed(f"{info.filename} in the bundle is a link; bundles contain plain files only.", "link")
        if info.flag_bits & 0x9 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Malformed(
                f"{info.filename} in the bundle is encrypted, streamed or compressed by an unknown method.", "compression"
            )
        if info.file_size > max(info.compress_size * bounds.ratio, _STEP):
            raise TooLarge(
                f"{info.filename} would unpack to {info.file_size / max(info.compress_size, 1):.0f} times its size; "
                f"at most {bounds.ratio:.0f} times are unpacked.",
                "ratio",
            )
    size = sum(info.file_size for info in members)
    if size > bounds.unpacked:
        raise TooLarge(
            f"The bundle unpacks to {size / 1e9:.1f} GB; at most {bounds.unpacked / 1e9:.1f} GB are unpacked.", "size"
        )
    at = 0
    for info in sorted(members, key=lambda info: info.header_offset):
        if info.header_offset != at:
            raise Malformed(
                f"{info.filename} in the bundle overlaps another member, or does not follow the member before it directly.",
                "overlap",
            )
        at = _end_of(data, info)
    if at != end:
        raise Malformed("The bundle contains bytes that belong to none of its members.", "overlap")


def _end_of(data: bytes, info: zipfile.ZipInfo) -> int:
    head = data[info.header_offset :][: _LOCAL.size]
    if len(head) < _LOCAL.size:
        raise Malformed(f"{info.filename} in the bundle is cut off.", "not_a_bundle")
    *_, name, extra = _LOCAL.unpack(head)
    return int(info.header_offset + _LOCAL.size + name + extra + info.compress_size)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        content = file.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise Malformed(f"{info.filename} in the bundle does not have the size that its header gives.", "not_a_bundle")
    return content


def gunzipped(data: bytes, name: str, bounds: Bounds = BOUNDS) -> bytes:
    """Returns the content of one gzip stream.

    Raises `TooLarge` as soon as the content exceeds the bounds; `Malformed` if the stream is cut off or other bytes follow it.
    """
    stream, parts, size = zlib.decompressobj(31), [], 0
    most = min(bounds.unpacked, max(len(data) * bounds.ratio, _STEP))
    rest = data
    try:
        while not stream.eof:
            part = stream.decompress(rest, _STEP)
            if not part and not rest:
                break
            size += len(part)
            if size > most:
                raise TooLarge(
                    f"{name} unpacks to more than {most / 1e6:.0f} MB, {size / len(data):.0f} times its size or more; "
                    f"at most {bounds.ratio:.0f} times are unpacked.",
                    "ratio",
                )
            parts.append(part)
            rest = stream.unconsumed_tail
    except zlib.error as error:
        raise Malformed(f"{name} is not a gzip file: {error}. Make the bundle again.", "gzip") from error
    if not stream.eof or stream.unused_data or rest:
        raise Malformed(f"{name} is cut off, or other bytes follow its end. Make the bundle again.", "gzip")
    return b"".join(parts)
