"""Synthetic speech for the miniature corpora: speakers, the lines that they say, the files, the times of words and phones.

A line is a pure function of itself: the same `Line` gives the same samples in any order, with any number of workers.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path

import numpy as np
import soundfile
import soxr

from downstream.shared.espeak import Espeak, Mark, espeak, require
from downstream.shared.recording import LEVEL_DECIBELS, background, breathe, colour, levelled, limited, noise, placed
from superbench import SAMPLE_RATE, SuperbenchError

__all__ = ["Line", "Mark", "Spoken", "Voice", "activity", "background", "speak", "voice"]

ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-us-nyc", "en-gb-x-gbclan")
WORDS_PER_MINUTE = 170
LINES_PER_WORKER = 25
"""A further process only pays (it takes about a second to start) with so many lines to say."""
LINES_IN_A_SHARE = 40
"""A second or so of work, which is what an interrupt waits for."""


@dataclass(frozen=True)
class Voice:
    """A speaker: fundamental in Hz and its spread, vocal tract as scales of nine formants, spectral tilt, manner."""

    name: str
    female: bool
    accent: str
    fundamental: float
    spread: float
    formants: tuple[float, ...]
    strengths: tuple[float, ...]
    tilt: float
    consonants: float
    breath: float
    pace: float


def voice(seed: int, number: int, *, female: bool | None = None) -> Voice:
    """Speaker `number` of the corpora of `seed`; the same numbers give the same speaker."""
    random = np.random.default_rng([seed, number, 1])
    chance = bool(random.random() < 0.5)
    woman = chance if female is None else female
    tract = random.uniform(1.03, 1.2) if woman else random.uniform(0.9, 1.05)
    return Voice(
        name=f"speaker{number}",
        female=woman,
        accent=str(random.choice(ACCENTS)),
        fundamental=float(random.uniform(150, 230) if woman else random.uniform(75, 145)),
        spread=float(random.uniform(0.25, 0.5)),
        formants=tuple(float(tract * random.uniform(0.96, 1.04)) for _ in range(9)),
        strengths=tuple(float(random.uniform(0.85, 1.15)) for _ in range(9)),
        tilt=float(random.uniform(0.6, 1.5)),
        consonants=float(random.uniform(0.75, 1.25)),
        breath=float(random.uniform(0.0, 0.12)),
        pace=float(random.uniform(0.92, 1.08)),
    )


@dataclass(frozen=True)
class Line:
    """Something to say, by whom, how, and where to write it.

    `path` ends in `.wav` (16 bit PCM) or `.flac`. `seed` decides all that is random about this line. `speed`, `pitch`, `range`
    (of pitch) and `volume` are relative to the voice's own. `seconds` pads with background, or cuts, to exactly that length,
    the speech at a random place; None leaves 0.1-0.3 s around it. `snr` is drawn between two bounds in dB. `peak` scales the
    highest sample to it; None draws the level within ±3 dB.
    """

    path: Path
    text: str
    voice: Voice
    seed: int
    speed: float = 1.0
    pitch: float = 1.0
    range: float = 1.0
    volume: float = 1.0
    seconds: float | None = None
    snr: tuple[float, float] = (10.0, 25.0)
    channel: bool = True
    sample_rate: int = SAMPLE_RATE
    peak: float | None = None


@dataclass(frozen=True)
class Spoken:
    """A file that was written: its length in samples at its own rate, and when which words and phones are heard in it."""

    path: Path
    samples: int
    words: tuple[Mark, ...]
    phones: tuple[Mark, ...]


def speak(lines: Sequence[Line], workers: int | None = None) -> list[Spoken]:
    """Say every line in worker processes, write the files, and return what was said, in order.

    `workers` defaults to the processor's cores, fewer for few lines. Raises `MissingExtra` without the synthesiser.
    """
    require()
    if not lines:
        return []
    most = workers or min(os.cpu_count() or 1, 1 + len(lines) // LINES_PER_WORKER)
    absolute = [replace(line, path=line.path.absolute()) for line in lines]
    for folder in {line.path.parent for line in absolute}:
        folder.mkdir(parents=True, exist_ok=True)
    shares = [absolute[first : first + LINES_IN_A_SHARE] for first in range(0, len(lines), LINES_IN_A_SHARE)]
    context = multiprocessing.get_context("spawn")  # a forked child would share the library's state
    try:
        with ProcessPoolExecutor(most, mp_context=context, initializer=_for_another) as pool:
            try:
                with _unheard():
                    shared = pool.map(_say_all, shares)
                spoken = [one for done in shared for one in done]
            except BaseException:  # an interrupt from the keyboard, most likely: no further share begins
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except BrokenProcessPool as error:
        raise SuperbenchError("A process that synthesises speech died, most likely for want of memory. Try again.") from error
    return [replace(one, path=line.path) for one, line in zip(spoken, lines, strict=True)]


def activity(spoken: Spoken, gap: float = 0.2) -> list[tuple[float, float]]:
    """Stretches of speech (start, end) in seconds: phones merged over pauses shorter than `gap` seconds.

    >>> phones = (Mark("a", 0.1, 0.2), Mark("b", 0.2, 0.3), Mark("c", 0.7, 0.9))
    >>> activity(Spoken(Path("a.wav"), 16_000, (), phones))
    [(0.1, 0.3), (0.7, 0.9)]
    """
    stretches: list[tuple[float, float]] = []
    for phone in spoken.phones:
        if stretches and phone.start - stretches[-1][1] < gap:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], phone.end))
        else:
            stretches.append((phone.start, phone.end))
    return stretches


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """What is started inside hears no interrupt from the keyboard; this thread hears of one afterwards."""
    resource_tracker.ensure_running()  # which would let them through again, if it were started on the way
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---------------------------------------------------------------- in a worker


def _for_another() -> None:
    """An interrupt from the keyboard is for the process that asked; this one ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _say_all(lines: list[Line]) -> list[Spoken]:
    with espeak() as engine:
        return [_say(line, engine) for line in lines]


def _say(line: Line, engine: Espeak) -> Spoken:
    random = np.random.default_rng([line.seed, 3])
    speech = engine.say(line.text, _voice_file(line), round(WORDS_PER_MINUTE * line.voice.pace * line.speed))
    first, last = int(speech.phones[0].start * SAMPLE_RATE), int(speech.phones[-1].end * SAMPLE_RATE)
    bare = breathe(speech.samples[first:last], line.voice.breath, random)
    if line.channel:
        bare = colour(bare, random)
    level = line.volume * 10 ** (random.uniform(-LEVEL_DECIBELS, LEVEL_DECIBELS) / 20)
    around = int(random.uniform(0.1, 0.3) * SAMPLE_RATE)
    samples = len(bare) + around if line.seconds is None else round(line.seconds * SAMPLE_RATE)
    wave, start = placed(levelled(bare, level), samples, random)
    wave = limited(wave + level * 10 ** (-random.uniform(*line.snr) / 20) * noise(samples, random), line.peak)
    if line.sample_rate != SAMPLE_RATE:
        wave = soxr.resample(wave, SAMPLE_RATE, line.sample_rate, quality="HQ")
    _write(line.path, wave, line.sample_rate)
    offset, end = (start - first) / SAMPLE_RATE, samples / SAMPLE_RATE
    return Spoken(line.path, len(wave), _moved(speech.words, offset, end), _moved(speech.phones, offset, end))


def _write(path: Path, wave: np.ndarray, sample_rate: int) -> None:
    whole = np.round(wave * 32767).clip(-32768, 32767).astype(np.int16)
    try:
        soundfile.write(path, whole, sample_rate, subtype="PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise SuperbenchError(f"Could not write {path}: {error} Free some space, or choose another folder.") from error


def _moved(marks: tuple[Mark, ...], offset: float, end: float) -> tuple[Mark, ...]:
    """Marks in the time of the file; what lies past its end is cut off."""
    moved = (Mark(mark.label, max(mark.start + offset, 0.0), min(mark.end + offset, end)) for mark in marks)
    return tuple(mark for mark in moved if mark.end > mark.start)


def _voice_file(line: Line) -> str:
    """The voice of a line in espeak-ng's notation. Flutter and roughness are 0, and breath is made here: all three depend
    on what was said before."""
    own = line.voice
    middle, spread = 0.93 * own.fundamental * line.pitch, own.spread * line.range
    formants = [
        f"formant {number} {round(100 * frequency)} {round(100 * strength)} 100"
        for number, (frequency, strength) in enumerate(zip(own.formants, own.strengths, strict=True))
    ]
    rows = [
        f"name {own.name}",
        f"language {own.accent}",
        f"pitch {round(middle * (1 - spread / 2))} {round(middle * (1 + spread / 2))}",
        "flutter 0",
        "roughness 0",
        f"consonants {round(100 * own.consonants)} {round(100 * own.consonants)}",
        f"tone 600 170 1300 {round(130 * own.tilt)} 3000 {round(90 * own.tilt)}",
        *formants,
    ]
    return "\n".join(rows) + "\n"
