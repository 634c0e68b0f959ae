"""Opens sound files by content, not by suffix, after a check that libsndfile reads all of the sound."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import soundfile

from superbench.data.containers import is_container, mended
from superbench.data.streams import is_mp3, mended_mpeg, ogg_streams, past_tags
from superbench.errors import BadAudio, first_of

READ = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "MP3", "OGG"})
"""libsndfile's names of formats that declare their length. In other formats, a truncated file would not be noticed."""
NAMES = "wav, W64, AIFF, AU, CAF, SPHERE, flac, mp3, Ogg Vorbis and Opus"

ELSEWHERE = (
    (4, b"ftyp", "MPEG-4 (m4a)"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "Windows Media (wma)"),
    (0, b"#!AMR", "AMR"),
    (0, b"ADIF", "AAC"),
    (0, b"wvpk", "WavPack"),
    (0, b"ajkg", "Shorten"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b".RMF", "RealAudio"),
    (0, b"BW64", "Broadcast Wave 64"),
    (28, b"\x7fFLAC", "FLAC in Ogg"),
    (28, b"Speex", "Speex"),
)
"""Offset, first bytes and name of formats that libsndfile does not decode."""
LFS_POINTER = b"version https://git-lfs"
FLAC_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
"""Start of a FLAC file: its signature, then a metadata block of 34 bytes, which may be the last one."""
READ_AHEAD = 2**15
"""Bytes that libsndfile and libFLAC (8192) may have read beyond what they decoded, and more."""
MPEG_SUFFIXES = (".mp3", ".mp2", ".mpga")
HEAD = 64
SLOWEST, FASTEST = 1000, 1_000_000
"""Lowest and highest valid sample rate (Hz)."""


class Stream(soundfile.SoundFile):
    """A stream that is read from its start. `soundfile` seeks after every reading, which fails if the length is unknown."""

    def seekable(self) -> bool:
        """Returns False, so that `soundfile` does not seek."""
        return False


@contextlib.contextmanager
def opened(path: Path) -> Iterator[list[Stream]]:
    """Opens the streams of a file, usually one, in order. All have the same rate and channel count.

    Raises `BadAudio` if the file is missing, no sound, truncated or only partly readable, and if reading fails in the block.
    """
    try:
        with path.open("rb", buffering=0) as file, contextlib.ExitStack() as stack:
            contents = _contents(path, file)
            file.seek(0)
            # by descriptor: given a path, libsndfile looks for a resource fork, and mistakes an unrelated `._` file for one
            sources = [file.fileno()] if contents is None else map(io.BytesIO, contents)
            streams = [stack.enter_context(Stream(source, closefd=False)) for source in sources]
            _must_be_alike(path, streams)
            yield streams
    except FileNotFoundError as error:
        raise BadAudio(f"{path} {_absent(path)}") from error
    except (OSError, soundfile.LibsndfileError, RuntimeError) as error:
        message = (error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)).rstrip(".")
        advice = "Convert it to wav" if "unsupported" in message or "unimplemented" in message else "Fetch the file again"
        raise BadAudio(f"{path} is not a readable sound file: {message}. {advice}.") from error


def is_one_channel_of_integers(stream: Stream) -> bool:
    """Returns True if the samples are integers of one channel: none is NaN, infinite or beyond full scale."""
    return stream.channels == 1 and stream.subtype.startswith("PCM_")


def must_be_one_flac(path: Path, stream: Stream) -> None:
    """Raises `BadAudio` if a second FLAC file follows the first, since libsndfile ignores it. `stream` was read to its end.

    A second file begins behind the first one, so not far before the place up to which libsndfile has read.
    """
    if isinstance(stream.name, int):  # a descriptor
        start = max(os.lseek(stream.name, 0, os.SEEK_CUR) - READ_AHEAD, 0)
        end = os.pread(stream.name, os.fstat(stream.name).st_size - start, start)
        if len(FLAC_START.findall(end)) < (1 if start else 2):
            return
    if len(FLAC_START.findall(path.read_bytes())) > 1:
        raise BadAudio(
            f"{path} contains several FLAC files; only the first would be read. Join them with an audio program "
            "(sox a.flac b.flac both.flac), or make a file of each and list them."
        )


def holds_sound(path: Path) -> bool:
    """Returns True if the file begins like one of the formats that superbench reads."""
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        start, head = _head(file)
        if is_container(head) or head[:4] in (b"OggS", b"fLaC"):
            return _elsewhere(head) is None
        file.seek(start)
        return is_mp3(file.read(2**14))
    return False


def _absent(path: Path) -> str:
    if path.is_symlink():
        return f"is a link to {path.readlink()}, which is not there. Restore that file, or correct the link."
    return "is listed in the corpus but not there. Complete the corpus, or correct the list."


def _head(file: io.FileIO) -> tuple[int, bytes]:
    """Returns the offset of the format, after an ID3 tag if there is one, and its first bytes."""
    head = file.read(HEAD) or b""
    start = past_tags(head)
    if start:
        file.seek(start)
        head = file.read(HEAD) or b""
    return start, head


def _contents(path: Path, file: io.FileIO) -> list[bytes] | None:
    """Returns the complete contents that libsndfile reads instead of the file; None: the file itself."""
    start, head = _head(file)
    if is_container(head):
        content = mended(path, file, start, path.stat().st_size)
        return None if content is None else [content]
    _must_be_decoded_here(path, head)
    if head[:4] == b"OggS":
        streams = ogg_streams(path, _all(file), start)
        return streams if len(streams) > 1 else None
    if head[:4] != b"fLaC" and (head[:1] == b"\xff" or path.suffix.lower() in MPEG_SUFFIXES):
        content = mended_mpeg(path, _all(file), start)
        return None if content is None else [content]
    return None


def _all(file: io.FileIO) -> bytes:
    file.seek(0)
    return file.readall()


def _must_be_decoded_here(path: Path, head: bytes) -> None:
    if head.startswith(LFS_POINTER):
        raise BadAudio(f"{path} is a Git LFS pointer; the sound was not fetched. Fetch it: git lfs pull")
    if name := _elsewhere(head):
        raise BadAudio(
            f"{path} is a file of {name}, which libsndfile does not decode. Convert it, for example with ffmpeg -i {path.name} "
            f"{path.stem}.converted.wav, and list the wav."
        )


def _elsewhere(head: bytes) -> str | None:
    """Returns the name of the format that begins with these bytes, if libsndfile does not decode it."""
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # sync word of MPEG without a layer
        return "AAC"
    return next((name for position, start, name in ELSEWHERE if head[position:].startswith(start)), None)


def _must_be_alike(path: Path, streams: list[Stream]) -> None:
    for name in {stream.format_info for stream in streams if stream.format not in READ}:
        raise BadAudio(
            f"{path} is a file of {name}. superbench reads {NAMES}; other formats do not declare their length reliably. "
            f"Convert it, for example with sox {path.name} {path.stem}.converted.wav"
        )
    if any(stream.subtype.startswith("MPEG") and stream.format != "MP3" for stream in streams):
        raise BadAudio(
            f"{path} contains mp3 in a wav. Its length can only be estimated, so some sound might not be read. Convert it: "
            f"ffmpeg -i {path.name} {path.stem}.converted.wav"
        )
    for rate in {stream.samplerate for stream in streams if not SLOWEST <= stream.samplerate <= FASTEST}:
        raise BadAudio(f"{path} declares {rate} samples a second: its header is damaged. Fetch the file again.")
    formats = {(stream.samplerate, stream.channels) for stream in streams}
    if len(formats) > 1:
        raise BadAudio(
            f"{path} contains streams of different formats (Hz, channels: {first_of(sorted(formats))}). Make a file of each."
        )
