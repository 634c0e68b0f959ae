"""The slots of Fluent Speech Commands, and its miniature: orders for a smart home, each intent in several wordings."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from downstream.shared.speech import Line, speak, voice

SLOTS: Mapping[str, tuple[str, ...]] = {
    "action": ("change language", "activate", "deactivate", "increase", "decrease", "bring"),
    "object": (
        "none", "music", "lights", "volume", "heat", "lamp", "newspaper", "juice", "socks", "shoes", "Chinese", "Korean",
        "English", "German",
    ),
    "location": ("none", "kitchen", "bedroom", "washroom"),
}  # fmt: skip
LISTS: Mapping[Literal["train", "dev", "test"], str] = {
    "train": "train_data.csv",
    "dev": "valid_data.csv",
    "test": "test_data.csv",
}
OBTAIN = """\
Free for academic research under the Fluent Speech Commands Public License; ask with the form on
https://fluent.ai/fluent-speech-commands-a-dataset-for-spoken-language-understanding-research/ and unpack the archive under
the data root: it makes fluent_speech_commands_dataset/ with data/ (the lists) and wavs/speakers/ (the sound).
"""

PLACES = ("none", "kitchen", "bedroom", "washroom")
LANGUAGES = ("Chinese", "Korean", "English", "German")
INTENTS = (
    *(("change language", language, "none") for language in ("none", *LANGUAGES)),
    *((action, thing, "none") for action in ("activate", "deactivate") for thing in ("lamp", "music")),
    *((action, "lights", place) for action in ("activate", "deactivate") for place in PLACES),
    *((action, "volume", "none") for action in ("increase", "decrease")),
    *((action, "heat", place) for action in ("increase", "decrease") for place in PLACES),
    *(("bring", thing, "none") for thing in ("newspaper", "juice", "socks", "shoes")),
)
"""The 31 intents of the corpus."""


def in_words(action: str, thing: str, location: str) -> str:
    """Returns an intent as an order.

    >>> in_words("activate", "lights", "kitchen"), in_words("change language", "Korean", "none")
    ('activate the lights in the kitchen', 'change language to Korean')
    """
    if action == "change language":
        return action if thing == "none" else f"{action} to {thing}"
    return f"{action} the {thing}" + ("" if location == "none" else f" in the {location}")


WORDINGS: Mapping[tuple[str, str], str] = {
    ("change language", "none"): "change language|switch the language|set another language",
    (
        "change language",
        "*",
    ): "set the language to {thing}|switch language to {thing}|change the language to {thing}|use {thing}",
    ("activate", "*"): "turn on the {thing}|switch on the {thing}|switch the {thing} on|turn the {thing} on",
    ("deactivate", "*"): "turn off the {thing}|switch off the {thing}|switch the {thing} off|turn the {thing} off",
    ("activate", "music"): "play the music|turn on the music|start the music|put on the music",
    ("deactivate", "music"): "stop the music|turn off the music|pause the music|switch off the music",
    ("increase", "volume"): "louder|turn up the volume|increase the volume|make it louder",
    ("decrease", "volume"): "quieter|turn down the volume|decrease the volume|make it softer",
    ("increase", "heat"): "turn up the heat|increase the heat|make it warmer|turn the temperature up",
    ("decrease", "heat"): "turn down the heat|decrease the heat|make it cooler|turn the temperature down",
    ("bring", "*"): "bring me the {thing}|get me the {thing}|fetch the {thing}|go and get the {thing}",
}
SPEAKERS: Mapping[Literal["train", "dev", "test"], tuple[int, int]] = {"train": (40, 40), "dev": (10, 20), "test": (40, 12)}
"""Speakers, and utterances of each."""

FIRST_VOICE = 35_000


def write_miniature(top: Path, seed: int) -> None:
    """Writes `fluent_speech_commands_dataset` at `top`: 1 600 / 200 / 480 orders, about 50 minutes. A complete tree is kept."""
    last = top / "data" / LISTS["test"]  # written last: if it exists, the tree is complete
    if last.is_file():
        return
    number = 0
    lines: list[Line] = []
    tables: dict[str, list[list[str]]] = {}
    for split, (speakers, utterances) in SPEAKERS.items():
        rows = tables.setdefault(LISTS[split], [])
        for _ in range(speakers):
            random = np.random.default_rng([seed, FIRST_VOICE, number])
            name, speaker_voice = f"speaker{number:03d}", voice(seed, FIRST_VOICE + number)
            number += 1
            for utterance in range(utterances):
                action, thing, place = INTENTS[int(random.integers(len(INTENTS)))]
                text, path = wording(action, thing, place, random), f"wavs/speakers/{name}/{name}-{utterance:03d}.wav"
                speed = float(random.uniform(0.95, 1.25))
                lines.append(Line(top / path, text, speaker_voice, seed=int(random.integers(2**31)), speed=speed))
                rows.append([str(len(rows)), path, name, text.capitalize(), action, thing, place])
    speak(lines)
    (top / "data").mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        with (top / "data" / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["", "path", "speakerId", "transcription", *SLOTS], *rows])


def wording(action: str, thing: str, place: str, random: np.random.Generator) -> str:
    """Returns one wording of an intent, sometimes with a `please` or a `now`."""
    wordings = WORDINGS.get((action, thing)) or WORDINGS[action, "*"]
    text = str(random.choice(wordings.split("|"))).format(thing=thing)
    if place != "none":
        text += f" in the {place}"
    chance = random.random()
    return f"please {text}" if chance < 0.15 else f"{text} now" if chance < 0.25 else text
