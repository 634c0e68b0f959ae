"""Checks that compressed sound is complete, and readable in full: frames of MPEG audio and pages of Ogg.

libsndfile takes the length of an MPEG stream from its first frame (Xing, VBRI), or estimates it. It reads only the first of
several streams in a file. Thus it may read only a part of the sound. This module counts frames and pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from superbench.errors import BadAudio

RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Sample rates by version bits: MPEG 1, 2, 2.5."""
LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
KILOBITS = {
    (3, 1): tuple(32 * step for step in range(1, 15)),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): LOW,
    (2, 3): LOW,
}
"""Bit rates by version (2 also for 2.5) and layer, from ISO 11172-3 and 13818-3, for the indices 1 to 14."""
KIND = 0xFFFE0C00
"""Bits of a frame's header that all frames of a stream share: sync, version, layer, sample rate."""
HEADER_BITS = KIND | 0xF200
"""These bits with bit rate and padding, which determine the length of a frame."""
SEARCHED = 2**16
"""Bytes between a tag and the first frame, or between two frames, that are searched."""
REMADE_RATE = 9
"""Index of the bit rate of the first frame that `_first_frame` makes: the frame is long enough for its content."""


@dataclass(frozen=True, slots=True)
class Frames:
    """MPEG frames of a file: a header, offsets of the first frame and of the first one with sound, their count and end.

    `promised` is the number of frames that the file declares, and `reach` their declared end; 0 if it declares none.
    """

    header: int
    begin: int
    position: int
    count: int
    end: int
    promised: int = 0
    reach: int = 0

    def cut(self, length: int) -> bool:
        """Returns True if a file of `length` bytes lacks frames. Some writers also count the frame that declares the number."""
        lacking = self.promised - self.count
        return self.end > length or lacking > 1 or (lacking == 1 and self.reach > length)


def is_mp3(content: bytes) -> bool:
    """Returns True if the content begins with MPEG audio of layer III."""
    return _layer(_word(content, 0)) == 3 and is_mpeg(content)


def is_mpeg(content: bytes, start: int = 0) -> bool:
    """Returns True if two consecutive frames of MPEG audio begin at `start`, or one that fills the rest."""
    length = _length(_word(content, start))
    if not length:
        return False
    after = start + length
    return after >= len(content) or bool(_length(_word(content, after), like=_word(content, start)))


def mended_mpeg(path: Path, content: bytes, start: int) -> bytes | None:
    """Returns None if MPEG audio declares its number of frames, is complete, and has only a tag before the frames.

    Otherwise returns only its frames, after a first frame that declares their number. Raises `BadAudio` for a truncated stream,
    and for layers I and II, which have no such frame.
    """
    frames = _frames(content, start)
    if frames is None:
        return None
    if _layer(frames.header) != 3:
        raise BadAudio(
            f"{path} is MPEG audio of layer {'I' * _layer(frames.header)}, whose length can only be estimated: some "
            f"sound might not be read. Convert it: ffmpeg -i {path.name} {path.stem}.converted.wav"
        )
    if frames.cut(len(content)):
        promise = f" of {frames.promised}" if frames.promised else ""
        raise BadAudio(
            f"{path} is cut off: it ends within or after its frame {frames.count}{promise}. Fetch the file again; if its "
            f"recording was interrupted, write it again (ffmpeg -i {path.name} whole.wav)."
        )
    if frames.promised != frames.count:
        return _first_frame(frames) + content[frames.position : frames.end]
    plain = frames.end == len(content) and past_tags(content) == frames.begin
    return None if plain else content[frames.begin : frames.end]


def _frames(content: bytes, start: int) -> Frames | None:
    position = _next(content, start, None)
    if position is None:
        return None
    header, length = _word(content, position), _length(_word(content, position))
    promise = _promise(content, position, header)
    promised, reach = promise or (0, 0)
    first = position + length if promise else position  # a header need not declare a number
    count, end = _count(content, first, header)
    return Frames(header=header, begin=position, position=first, count=count, end=end, promised=promised, reach=reach)


def _count(content: bytes, position: int, like: int) -> tuple[int, int]:
    """Returns the number of complete frames from `position` on, and the end of the last frame, complete or not."""
    lengths: dict[int, int] = {}
    count, end = 0, position
    while position + 4 <= len(content):
        word = _word(content, position) & HEADER_BITS
        length = lengths.get(word)
        if length is None:
            length = lengths[word] = _length(word, like)
        if length:
            end = position + length
            count += end <= len(content)
            position = end
        elif (after := _next(content, position, like)) is not None:
            position = after
        else:
            break
    return count, end


def _next(content: bytes, position: int, like: int | None) -> int | None:
    """Returns the next offset, after any tags, at which two consecutive frames begin."""
    position = past_tags(content, position)
    until = min(len(content), position + SEARCHED)
    while 0 <= position < until:
        word = _word(content, position)
        if _length(word, like) and is_mpeg(content, position):
            return position
        position = content.find(b"\xff", position + 1, until)
    return None


def past_tags(content: bytes, position: int = 0) -> int:
    """Returns the offset of the first byte at or after `position` that is not part of an ID3v2 tag."""
    while content[position : position + 3] == b"ID3" and len(content) >= position + 10:
        sizes = content[position + 6 : position + 10]
        position += 10 + sum(size << shift for size, shift in zip(sizes, (21, 14, 7, 0), strict=True))
    return position


def _word(content: bytes, position: int) -> int:
    return int.from_bytes(content[position : position + 4], "big")


def _layer(word: int) -> int:
    return 4 - (word >> 17 & 3)


def _length(word: int, like: int | None = None) -> int:
    """Returns the bytes of the frame with this header; 0 if it is no header, or belongs to another stream than `like`."""
    version, layer, index, rate = word >> 19 & 3, _layer(word), word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer == 4 or index in (0, 15) or rate == 3:
        return 0
    if like is not None and (word ^ like) & KIND:
        return 0
    bits, padding = KILOBITS[2 | version, layer][index - 1] * 1000, word >> 9 & 1
    if layer == 1:
        return (12 * bits // RATES[version][rate] + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // RATES[version][rate] + padding


def _sides(word: int) -> int:
    """Returns the offset of the Xing header in a first frame of layer III: after its header and (empty) side information."""
    mono = word >> 6 & 3 == 3
    return 4 + ((17 if mono else 32) if word >> 19 & 3 == 3 else (9 if mono else 17))


def _promise(content: bytes, position: int, word: int) -> tuple[int, ...]:
    """Returns the declared number and end of frames (0: not declared); an empty tuple if the first frame contains sound."""
    at = position + _sides(word)
    if content[at : at + 4] in (b"Xing", b"Info") and at + 16 <= len(content):
        counted, measured = content[at + 7] & 1, content[at + 7] & 2
        reach = _word(content, at + 8 + 4 * counted)
        return (_word(content, at + 8) if counted else 0), position + reach if measured else 0
    if content[position + 36 : position + 40] == b"VBRI":
        return _word(content, position + 50), position + _word(content, position + 46)
    return ()


def _first_frame(frames: Frames) -> bytes:
    """Returns a silent frame like the others, with a Xing header that declares their number."""
    header = frames.header & ~0xF200 | REMADE_RATE << 12 | 1 << 16  # no padding, no checksum
    frame = bytearray(_length(header))
    frame[:4] = header.to_bytes(4, "big")
    at = _sides(header)
    frame[at : at + 12] = b"Xing" + (1).to_bytes(4, "big") + frames.count.to_bytes(4, "big")
    return bytes(frame)


def ogg_streams(path: Path, content: bytes, start: int) -> list[bytes]:
    """Returns the consecutive streams of an Ogg file (RFC 3533); raises `BadAudio` if a stream has no last page."""
    begins, position, last, opening = [start], start, 0, True
    while content[position : position + 4] == b"OggS" and position + 27 <= len(content):
        count = content[position + 26]
        if content[position + 5] & 2 and not opening:
            _must_end(path, last, len(begins))
            begins.append(position)
        opening, last = bool(content[position + 5] & 2), content[position + 5]
        position += 27 + count + sum(content[position + 27 : position + 27 + count])
    _must_end(path, last if position <= len(content) else 0, len(begins))
    return [content[begin:end] for begin, end in zip(begins, [*begins[1:], len(content)], strict=True)]


def _must_end(path: Path, flags: int, number: int) -> None:
    if not flags & 4:
        stream = "" if number == 1 else f" number {number}"
        raise BadAudio(
            f"{path} is cut off: its Ogg stream{stream} has no last page. Fetch the file again; if its recording was "
            f"interrupted, write it again (ffmpeg -i {path.name} -c copy whole{path.suffix})."
        )
