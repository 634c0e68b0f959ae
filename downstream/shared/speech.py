"""Synthetic speech for the miniature corpora: speakers, lines of text, sound files, the times of words and phones.

Synthesis is a pure function of the `Line`: the same `Line` gives the same samples in any order, with any number of workers.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

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
"""Smallest number of lines for each process; a process takes about a second to start."""
LINES_IN_A_SHARE = 40
"""Lines in a share: about a second of work. An interrupt waits for the current share."""


@dataclass(frozen=True)
class Voice:
    """A speaker: fundamental frequency in Hz and its spread, scales of nine formants, spectral tilt, manner of speaking."""

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
    """Returns speaker `number` of the corpora of `seed`; the same numbers give the same speaker."""
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
    """A text to synthesise, with its speaker, its manner, and the file to write.

    `path` ends in `.wav` (16 bit PCM) or `.flac`. `seed` determines all random numbers of this line. `speed`, `pitch`, `range`
    (of pitch) and `volume` are relative to those of the voice. `seconds` pads with background, or cuts, to exactly this length,
    with the speech at a random position; None leaves 0.1-0.3 s around it. `snr` is drawn between two bounds in dB. `peak` is
    the value of the highest sample; None draws the level within ±3 dB.
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
    """A written file: its length in samples at its own rate, and the times of its words and phones."""

    path: Path
    samples: int
    words: tuple[Mark, ...]
    phones: tuple[Mark, ...]


def speak(lines: Sequence[Line], workers: int | None = None) -> list[Spoken]:
    """Synthesises every line in worker processes, writes the files, and returns their records, in order.

    `workers` defaults to the number of cores, fewer for few lines. Raises `MissingExtra` without the synthesiser.
    """
    require()
    if not lines:
        return []
    most = workers or min(os.cpu_count() or 1, 1 + len(lines) // LINES_PER_WORKER)
    absolute = [replace(line, path=line.path.absolute()) for line in lines]
    for folder in {line.path.parent for line in absolute}:
        folder.mkdir(parents=True, exist_ok=True)
    shares = [absolute[first : first + LINES_IN_A_SHARE] for first in range(0, len(lines), LINES_IN_A_SHARE)]
    context = multiprocessing.get_context("spawn")  # a forked child would share the state of the library
    try:
        with ProcessPoolExecutor(most, mp_context=context, initializer=_for_another) as pool:
            try:
                shared = _unheard(pool.map, _say_all, shares)
                spoken = [spoken_line for done in shared for spoken_line in done]
            except BaseException:  # most likely an interrupt from the keyboard: no further share begins
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except BrokenProcessPool as error:
        raise SuperbenchError(
            "A process that synthesises speech died, most likely because memory ran out. Try again."
        ) from error
    return [replace(spoken_line, path=line.path) for spoken_line, line in zip(spoken, lines, strict=True)]


def activity(spoken: Spoken, gap: float = 0.2) -> list[tuple[float, float]]:
    """Returns stretches of speech (start, end) in seconds: phones merged over pauses shorter than `gap` seconds.

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


def _unheard(begin: Callable[..., Iterator[list[Spoken]]], *arguments: Any) -> Iterator[list[Spoken]]:
    """Calls `begin`, which starts processes, in a thread without interrupts from the keyboard; the processes inherit this.

    The interpreter raises an interrupt in the main thread, whichever thread received it. So this function waits for `begin`
    even then: a process that is cut off from its parent while it starts would print a traceback.
    """
    resource_tracker.ensure_running()  # started first: if it starts inside, it unblocks interrupts
    begun: Future[Iterator[list[Spoken]]] = Future()

    def start() -> None:
        """Blocks interrupts in this thread, then calls `begin`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            begun.set_result(begin(*arguments))
        except BaseException as error:
            begun.set_exception(error)

    try:
        threading.Thread(target=start, daemon=True).start()
        return begun.result()
    except KeyboardInterrupt:
        wait([begun], timeout=2)
        raise


# ---------------------------------------------------------------- in a worker


def _for_another() -> None:
    """Ignores interrupts from the keyboard: the parent process handles them, and this worker ends with it."""
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
    samples = np.round(wave * 32767).clip(-32768, 32767).astype(np.int16)
    try:
        soundfile.write(path, samples, sample_rate, subtype="PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise SuperbenchError(f"Could not write {path}: {error} Free some space, or choose another folder.") from error


def _moved(marks: tuple[Mark, ...], offset: float, end: float) -> tuple[Mark, ...]:
    """Shifts marks to the time of the file and cuts them at its end."""
    moved = (Mark(mark.label, max(mark.start + offset, 0.0), min(mark.end + offset, end)) for mark in marks)
    return tuple(mark for mark in moved if mark.end > mark.start)


def _voice_file(line: Line) -> str:
    """Returns the voice of a line in the notation of espeak-ng.

    Flutter and roughness are 0, and breath is added in `recording`: in espeak-ng all three depend on earlier output.
    """
    speaker = line.voice
    middle, spread = 0.93 * speaker.fundamental * line.pitch, speaker.spread * line.range
    formants = [
        f"formant {number} {round(100 * frequency)} {round(100 * strength)} 100"
        for number, (frequency, strength) in enumerate(zip(speaker.formants, speaker.strengths, strict=True))
    ]
    rows = [
        f"name {speaker.name}",
        f"language {speaker.accent}",
        f"pitch {round(middle * (1 - spread / 2))} {round(middle * (1 + spread / 2))}",
        "flutter 0",
        "roughness 0",
        f"consonants {round(100 * speaker.consonants)} {round(100 * speaker.consonants)}",
        f"tone 600 170 1300 {round(130 * speaker.tilt)} 3000 {round(90 * speaker.tilt)}",
        *formants,
    ]
    return "\n".join(rows) + "\n"
