"""Writes a miniature of IEMOCAP for ER: synthetic actors express emotions by speed and by the range of pitch.

By design, mean pitch and loudness tell little about the emotion. Otherwise the mean spectrum would reveal it, more for women's
voices than for men's, and the score of a filter bank would depend more on the ten actors than on the filter bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from downstream.shared.sentences import sentence
from downstream.shared.speech import Line, Spoken, Voice, speak, voice
from superbench import SAMPLE_RATE


@dataclass(frozen=True)
class Manner:
    """How an emotion sounds: factors on the speed, pitch, range of pitch and loudness of a voice."""

    speed: float
    pitch: float
    range: float
    volume: float


NEUTRAL = Manner(1.0, 0.99, 0.9, 1.0)
HAPPY = Manner(1.08, 1.07, 2.2, 1.0)
ANGRY = Manner(1.48, 1.03, 1.2, 1.0)
SAD = Manner(0.65, 0.97, 0.4, 1.0)
MANNERS = {"neu": NEUTRAL, "hap": HAPPY, "exc": HAPPY, "ang": ANGRY, "sad": SAD, "fru": ANGRY, "xxx": NEUTRAL}
JITTER = Manner(0.1, 0.12, 0.2, 0.3)
"""Standard deviations of the logarithms of the factors: the emotions overlap."""

FIRST_VOICE = 30_000
DIALOGS = ("F_impro01", "F_script01_1", "M_impro01", "M_script01_1")
COUNTS = {"neu": 6, "hap": 3, "exc": 3, "ang": 6, "sad": 6, "fru": 1, "xxx": 1}
"""Utterances of each actor in each dialog; ER does not use the last two labels."""

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"


@dataclass(frozen=True)
class Turn:
    """An utterance of a dialog and its label."""

    name: str
    label: str
    line: Line


def write_miniature(root: Path, seed: int) -> None:
    """Writes five sessions of two actors each: 960 utterances of ER's classes and 80 others, about 38 minutes.

    A complete tree is not written again.
    """
    done = root / "Documentation" / "ReadMe.txt"  # written last: if it exists, the tree is complete
    if done.is_file():
        return
    dialogs = {
        (session, f"Ses0{session}{dialog}"): _dialog(root, session, f"Ses0{session}{dialog}", seed * 100 + number)
        for session in range(1, 6)
        for number, dialog in enumerate(DIALOGS)
    }
    spoken = iter(speak([turn.line for turns in dialogs.values() for turn in turns]))
    for (session, dialog), turns in dialogs.items():
        folder = root / f"Session{session}" / "dialog" / "EmoEvaluation"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{dialog}.txt").write_text(_labels(turns, [next(spoken) for _ in turns]))
    done.parent.mkdir(parents=True, exist_ok=True)
    done.write_text("Miniature, synthetic IEMOCAP\n")


def _dialog(root: Path, session: int, dialog: str, seed: int) -> list[Turn]:
    random = np.random.default_rng([seed, FIRST_VOICE, session])
    folder = root / f"Session{session}" / "sentences" / "wav" / dialog
    parts = [(sex, label) for sex in "FM" for label, count in COUNTS.items() for _ in range(count)]
    turns, numbers = [], {"F": 0, "M": 0}
    for sex, label in (parts[index] for index in random.permutation(len(parts))):
        name = f"{dialog}_{sex}{numbers[sex]:03d}"
        numbers[sex] += 1
        actor_voice = _actor(seed // 100, session, sex)
        turns.append(Turn(name, label, _line(folder / f"{name}.wav", actor_voice, MANNERS[label], random)))
    return turns


def _actor(seed: int, session: int, sex: str) -> Voice:
    """Returns an American voice like those of IEMOCAP's ten actors: one accent, no extremes of pitch, vocal tract or timbre."""
    number, female = FIRST_VOICE + 2 * session + (sex == "M"), sex == "F"
    random = np.random.default_rng([seed, number, 2])
    tract = (1.1 if female else 0.97) * random.uniform(0.96, 1.04)
    return replace(
        voice(seed, number, female=female),
        accent="en-us",
        fundamental=float(random.uniform(180, 215) if female else random.uniform(100, 130)),
        formants=tuple(float(tract * random.uniform(0.97, 1.03)) for _ in range(9)),
        tilt=float(random.uniform(0.8, 1.2)),
    )


def _line(path: Path, actor: Voice, manner: Manner, random: np.random.Generator) -> Line:
    def drawn(factor: float, spread: float) -> float:
        return float(factor * np.exp(spread * random.normal()))

    return Line(
        path,
        sentence(random, short=True),
        actor,
        seed=int(random.integers(2**31)),
        speed=drawn(manner.speed, JITTER.speed),
        pitch=drawn(manner.pitch, JITTER.pitch),
        range=drawn(manner.range, JITTER.range),
        volume=drawn(manner.volume, JITTER.volume),
    )


def _labels(turns: Sequence[Turn], spoken: Sequence[Spoken]) -> str:
    """Returns a label file: a header, then for every turn a line in brackets and the lines of the raters, which ER ignores."""
    text, start = HEADER, 1.0
    for turn, recording in zip(turns, spoken, strict=True):
        end = start + recording.samples / SAMPLE_RATE
        text += f"[{start:.4f} - {end:.4f}]\t{turn.name}\t{turn.label}\t[2.5000, 2.5000, 2.5000]\n"
        text += "C-E2:\tOther;\t()\nA-E3:\tval 3; act 3; dom  3;\t()\n\n"
        start = end + 0.5
    return text
