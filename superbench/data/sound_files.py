"""A sound file, opened by what it holds and not by its suffix, after a look at whether libsndfile would hear all of it."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import soundfile

from superbench.data.containers import is_container, mended
from superbench.data.streams import is_mp3, mended_mpeg, ogg_streams, past_tags
from superbench.errors import BadAudio, first_of

READ = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "MP3", "OGG"})
"""What libsndfile calls the formats that say how long they are. Of the others, a part could not be told from the whole."""
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
"""Place, first bytes and name of formats that libsndfile does not decode."""
LFS_POINTER = b"version https://git-lfs"
FLAC_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
"""A FLAC file begins with its mark and a block of 34 bytes, the last of its blocks or not."""
MPEG_SUFFIXES = (".mp3", ".mp2", ".mpga")
HEAD = 64
SLOWEST, FASTEST = 1000, 1_000_000
"""Sample rates (Hz) between which sound is recorded."""


class Stream(soundfile.SoundFile):
    """A stream that is read from its beginning on. The wrapper seeks after every reading, which fails at an unknown end."""

    def seekable(self) -> bool:
        """Not needed."""
        return False


@contextlib.contextmanager
def opened(path: Path) -> Iterator[list[Stream]]:
    """The streams of a file one after the other, most often one, open for reading and of one rate and channel count.

    Raises `BadAudio` for what is not there, is no sound, is cut off or would be heard in part, and where reading fails inside.
    """
    try:
        with path.open("rb", buffering=0) as file, contextlib.ExitStack() as stack:
            contents = _contents(path, file)
            file.seek(0)
            # by number: beside a path, libsndfile looks for a resource fork, and takes a `._` companion of another kind for one
            sources = [file.fileno()] if contents is None else map(io.BytesIO, contents)
            streams = [stack.enter_context(Stream(source, closefd=False)) for source in sources]
            _must_be_one_kind(path, streams)
            yield streams
    except FileNotFoundError as error:
        raise BadAudio(f"{path} {_absent(path)}") from error
    except (OSError, soundfile.LibsndfileError, RuntimeError) as error:
        said = (error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)).rstrip(".")
        advice = "Convert it to wav" if "unsupported" in said or "unimplemented" in said else "Fetch the file again"
        raise BadAudio(f"{path} is not a readable sound file: {said}. {advice}.") from error


def must_be_one_flac(path: Path) -> None:
    """Raise `BadAudio` if a FLAC file is followed by another, of which libsndfile would hear nothing; reads the whole file."""
    if len(FLAC_START.findall(path.read_bytes())) > 1:
        raise BadAudio(
            f"{path} holds one FLAC file after another; only the first would be heard. Join them with a program that knows "
            "sound (sox a.flac b.flac both.flac), or list each for itself."
        )


def holds_sound(path: Path) -> bool:
    """Does a file begin as one of the formats that are read?"""
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        start, head = _head(file)
        if is_container(head) or head[:4] in (b"OggS", b"fLaC"):
            return _elsewhere(head) is None
        file.seek(start)
        return is_mp3(file.read(2**14))
    return False


def _absent(path: Path) -> str:
    if path.is_symlink():
        return f"is a link to {path.readlink()}, which is not there. Bring that file back, or mend the link."
    return "is listed in the corpus but not there. Complete the corpus, or mend the list."


def _head(file: io.FileIO) -> tuple[int, bytes]:
    """Where the format begins, behind an ID3 tag if there is one, and its first bytes."""
    head = file.read(HEAD) or b""
    start = past_tags(head)
    if start:
        file.seek(start)
        head = file.read(HEAD) or b""
    return start, head


def _contents(path: Path, file: io.FileIO) -> list[bytes] | None:
    """What libsndfile shall read in place of the file, as whole files; None: the file as it is."""
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
        raise BadAudio(f"{path} is a pointer of Git LFS in place of the sound, which was not fetched. Fetch it: git lfs pull")
    if name := _elsewhere(head):
        raise BadAudio(
            f"{path} is a file of {name}, which libsndfile does not decode. Convert it, for example with ffmpeg -i {path.name} "
            f"{path.stem}.converted.wav, and list the wav."
        )


def _elsewhere(head: bytes) -> str | None:
    """The format that begins with these bytes, if libsndfile does not decode it."""
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # MPEG's mark with no layer
        return "AAC"
    return next((name for place, start, name in ELSEWHERE if head[place:].startswith(start)), None)


def _must_be_one_kind(path: Path, streams: list[Stream]) -> None:
    for name in {stream.format_info for stream in streams if stream.format not in READ}:
        raise BadAudio(
            f"{path} is a file of {name}. Read are {NAMES}; others do not say, or not reliably, how much sound they hold. "
            f"Convert it, for example with sox {path.name} {path.stem}.converted.wav"
        )
    if any(stream.subtype.startswith("MPEG") and stream.format != "MP3" for stream in streams):
        raise BadAudio(
            f"{path} holds mp3 in a wav, whose length is guessed, so that some of it might not be heard. Convert it: "
            f"ffmpeg -i {path.name} {path.stem}.converted.wav"
        )
    for rate in {stream.samplerate for stream in streams if not SLOWEST <= stream.samplerate <= FASTEST}:
        raise BadAudio(f"{path} says that it has {rate} samples a second: its header is damaged. Fetch the file again.")
    kinds = {(stream.samplerate, stream.channels) for stream in streams}
    if len(kinds) > 1:
        raise BadAudio(
            f"{path} holds streams of different kinds one after the other (Hz, channels: {first_of(sorted(kinds))}). "
            "Make a file of each."
        )
