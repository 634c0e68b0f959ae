"""Binding to espeak-ng, the synthesiser of the miniature corpora: from text to samples and the times of words and phones.

https://github.com/espeak-ng/espeak-ng (GPL-3.0-or-later) is an optional extra. Only worker processes load it, because the
library has one global state. With flutter and roughness 0, its output does not depend on earlier output.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from superbench import SAMPLE_RATE, MissingExtra, SuperbenchError

WORD, PHONEME = 1, 7
"""Types of events (`espeak_EVENT_TYPE`)."""

SYNCHRONOUS, PHONEME_EVENTS, CHARACTERS, UTF8, RATE = 2, 1, 1, 1, 1
"""Output mode, option of initialisation, position type, flag of the text, parameter number (speak_lib.h)."""

Event = tuple[int, int, int, str]
"""Type, sample, position in the text (from 1), phone."""

LONGEST_DATA_PATH = 140
"""espeak-ng copies the path of its data into a buffer of 160 characters."""
LONGEST_VOICE_PATH = 50
"""espeak-ng refuses voice files with a longer path (of those tried, 56 characters work, 66 do not)."""


@dataclass(frozen=True)
class Mark:
    """A stretch of the written file, in seconds."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class Speech:
    """Samples (float32, 16 kHz), and the times of words and phones."""

    samples: np.ndarray
    words: tuple[Mark, ...]
    phones: tuple[Mark, ...]


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def require() -> Any:
    """Returns the package that contains the library; raises `MissingExtra` without it."""
    try:
        return importlib.import_module("espeakng_loader")
    except ImportError as error:
        raise MissingExtra("Writing miniature corpora", "espeakng_loader", "demo") from error


class Espeak:
    """The library, loaded into this process; one instance at a time. `folder` has its voice file and (a link to) its data."""

    def __init__(self, folder: Path) -> None:
        loader = require()
        self._library = ctypes.CDLL(loader.get_library_path())
        self._folder = os.open(folder, os.O_RDONLY)
        short = Path(f"/proc/self/fd/{self._folder}")  # the folder by a short name, where the system has such names
        folder = short if short.is_dir() else folder
        data = Path(loader.get_data_path())
        if len(str(data)) > LONGEST_DATA_PATH:
            (folder / "espeak-ng-data").symlink_to(data)
            data = folder / "espeak-ng-data"
        self._voice_file = folder / "voice"
        if len(str(data)) > LONGEST_DATA_PATH or len(str(self._voice_file)) > LONGEST_VOICE_PATH:
            raise SuperbenchError(
                f"The folder for temporary files, {folder}, has too long a path for espeak-ng. Set TMPDIR to /tmp."
            )
        self.rate = self._library.espeak_Initialize(SYNCHRONOUS, 0, os.fsencode(data), PHONEME_EVENTS)
        if self.rate <= 0:
            raise SuperbenchError(
                f"espeak-ng does not start with the data in {data}. Install the package espeakng-loader again."
            )
        self._pieces: list[np.ndarray] = []
        self._events: list[Event] = []
        self._callback = _Callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def close(self) -> None:
        """Releases the resources of the library."""
        self._library.espeak_Terminate()
        os.close(self._folder)

    def say(self, text: str, voice: str, words_per_minute: int) -> Speech:
        """Synthesises `text` with a voice, given as the text of a voice file."""
        self._voice_file.write_text(voice)
        if self._library.espeak_SetVoiceByFile(os.fsencode(self._voice_file)) != 0:
            raise SuperbenchError(f"espeak-ng refused this voice:\n{voice}")
        self._library.espeak_SetParameter(RATE, words_per_minute, 0)
        self._pieces, self._events = [], []
        encoded = text.encode()
        status = self._library.espeak_Synth(encoded, len(encoded) + 1, 0, CHARACTERS, 0, UTF8, None, None)
        phones = _phones(self._events, sum(len(piece) for piece in self._pieces))
        if status != 0 or not phones:
            raise SuperbenchError(f"espeak-ng could not say {text!r} (status {status}).")
        samples = np.concatenate(self._pieces).astype(np.float32) / 32768
        words, timed = self._timed(_words(self._events, phones, text)), self._timed(phones)
        return Speech(soxr.resample(samples, self.rate, SAMPLE_RATE, quality="MQ"), words, timed)

    def _timed(self, marks: list[Mark]) -> tuple[Mark, ...]:
        return tuple(Mark(mark.label, mark.start / self.rate, mark.end / self.rate) for mark in marks)

    def _receive(self, wave: Any, count: int, events: Any) -> int:
        if wave and count > 0:
            self._pieces.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while events[index].type:
            event = events[index]
            if event.type in (WORD, PHONEME):
                label = event.id.string.decode(errors="replace") if event.type == PHONEME else ""
                self._events.append((event.type, event.sample, event.text_position, label))
            index += 1
        return 0


def _phones(events: list[Event], length: int) -> list[Mark]:
    """Returns phones in samples: each lasts until the next phone event; pauses (`_…`) are left out, stress marks stripped."""
    labelled = [(sample, label) for event, sample, _, label in events if event == PHONEME]
    marks = [Mark(label.strip("',%="), start, end) for (start, label), (end, _) in pairwise([*labelled, (length, "")])]
    return [mark for mark in marks if mark.label and not mark.label.startswith("_") and mark.end > mark.start]


def _words(events: list[Event], phones: list[Mark], text: str) -> list[Mark]:
    """Returns words in samples: from their first to their last phone. espeak-ng joins some pairs to one word (`of the`)."""
    spoken = [(sample, at - 1) for event, sample, at, _ in events if event == WORD]
    marks = []
    for (start, at), (limit, until) in pairwise([*spoken, (round(phones[-1].end) + 1, len(text))]):
        inside = [phone for phone in phones if start <= phone.start < limit]
        if inside:
            marks.append(Mark(text[at:until].strip(" .,;:!?"), inside[0].start, inside[-1].end))
    return marks


@contextmanager
def espeak() -> Iterator[Espeak]:
    """Yields an `Espeak` with its own temporary folder."""
    with tempfile.TemporaryDirectory(prefix="espeak") as folder:
        engine = Espeak(Path(folder))
        try:
            yield engine
        finally:
            engine.close()
