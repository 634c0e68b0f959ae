"""Writes a miniature of Speech Commands v0.01 and its test archive for KS, spoken by synthetic voices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from downstream.shared.speech import Line, Voice, background, speak, voice
from superbench import SAMPLE_RATE

TRAIN, TEST, NOISE = "speech_commands_v0.01", "speech_commands_test_set_v0.01", "_background_noise_"
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
OTHERS = (
    "bed", "bird", "cat", "dog", "eight", "five", "four", "happy", "house", "marvin", "nine", "one", "seven", "sheila", "six",
    "three", "tree", "two", "wow", "zero",
)  # fmt: skip
WORDS = (*KEYWORDS, *OTHERS)
TRAINED_OTHERS = OTHERS[::2]
NOISE_FILES = ("doing_the_dishes", "dude_miaowing", "exercise_bike", "pink_noise", "running_tap", "white_noise")

FIRST_VOICE = 20_000
SPEAKERS = {"train": 60, "dev": 10, "unused": 2, "test": 48}
OTHERS_PER_SPEAKER = 5
NOISE_SECONDS = 5.0


def write_miniature(top: Path, seed: int, side: Callable[[str], str]) -> None:
    """Writes both archives under `top`: 1 s files, 10 keywords by every speaker, other words, silence; about 28 minutes.

    Speakers get hashes for which `side` returns their split. A complete tree is kept.
    """
    last = top / TRAIN / "validation_list.txt"  # written last: if it exists, the tree is complete
    if last.is_file():
        return
    random = np.random.default_rng([seed, FIRST_VOICE])
    lines: list[Line] = []
    number = FIRST_VOICE
    for part, count in SPEAKERS.items():
        for _ in range(count):
            number += 1
            speaker, name = voice(seed, number), _hash(random, side, "unused" if part == "test" else part)
            lines += (
                _tested(top / TEST, speaker, name, random) if part == "test" else _trained(top / TRAIN, speaker, name, random)
            )
    speak(lines)
    _silences(top, seed)
    for file, part in (("testing_list.txt", "unused"), (last.name, "dev")):
        listed = sorted(path.relative_to(top / TRAIN).as_posix() for path in (top / TRAIN).glob("*/*_nohash_*.wav"))
        (top / TRAIN / file).write_text("".join(f"{name}\n" for name in listed if side(Path(name).name) == part))


def _hash(random: np.random.Generator, side: Callable[[str], str], part: str) -> str:
    while side(name := f"{int(random.integers(2**32)):08x}") != part:
        pass
    return name


def _trained(folder: Path, speaker: Voice, name: str, random: np.random.Generator) -> Iterator[Line]:
    others = random.choice(TRAINED_OTHERS, OTHERS_PER_SPEAKER, replace=False).tolist()
    for word in (*KEYWORDS, *others):
        yield _line(folder / word / f"{name}_nohash_0.wav", word, speaker, random)


def _tested(folder: Path, speaker: Voice, name: str, random: np.random.Generator) -> Iterator[Line]:
    for word in KEYWORDS:
        yield _line(folder / word / f"{name}_nohash_0.wav", word, speaker, random)
    yield _line(folder / "_unknown_" / f"{name}_nohash_0.wav", str(random.choice(OTHERS)), speaker, random)


def _line(path: Path, word: str, speaker: Voice, random: np.random.Generator) -> Line:
    return Line(
        path,
        word,
        speaker,
        seed=int(random.integers(2**31)),
        speed=float(random.uniform(0.8, 1.25)),
        pitch=float(random.uniform(0.88, 1.14)),
        seconds=1.0,
        snr=(0.0, 15.0),
    )


def _silences(top: Path, seed: int) -> None:
    """Writes noise as loud as that behind the words: the long files for train, and as many 1 s files as a class has in test."""
    random = np.random.default_rng([seed, FIRST_VOICE, 1])
    files = [(top / TRAIN / NOISE / f"{name}.wav", NOISE_SECONDS) for name in NOISE_FILES]
    files += [
        (top / TEST / "_silence_" / f"{int(random.integers(2**32)):08x}_nohash_0.wav", 1.0) for _ in range(SPEAKERS["test"])
    ]
    for path, seconds in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        level = 10 ** (-random.uniform(0, 15) / 20)
        soundfile.write(path, level * background(seconds, int(random.integers(2**31))), SAMPLE_RATE, subtype="PCM_16")
