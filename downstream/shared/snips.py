"""Audio SNIPS, the corpus of SF: reads its tree, its slots and speakers, and writes a miniature of it.

Corpus: sentences of Coucke et al., "Snips Voice Platform" (2018), spoken by sixteen synthetic voices (Lai et al., ICASSP 2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from downstream.shared.grammar import kept_from_training
from downstream.shared.lists import lines_of, only_once
from downstream.shared.speech import Line, speak, voice
from downstream.shared.text import CHARACTERS, PUNCTUATION, Slotted, strangers
from superbench import Audio, BadCorpus, Corpora, Fold, IncompleteCorpus, Item, MissingFiles, Split

SPEAKERS: Mapping[str, tuple[str, ...]] = {
    "train": ("Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"),
    "valid": ("Aditi", "Amy", "Geraint", "Nicole"),
    "test": ("Brian", "Emma", "Raveena", "Russell"),
}
SLOTS = (
    "album", "artist", "best_rating", "city", "condition_description", "condition_temperature", "country", "cuisine",
    "current_location", "entity_name", "facility", "genre", "geographic_poi", "location_name", "movie_name", "movie_type",
    "music_item", "object_location_type", "object_name", "object_part_of_series_type", "object_select", "object_type",
    "party_size_description", "party_size_number", "playlist", "playlist_owner", "poi", "rating_unit", "rating_value",
    "restaurant_name", "restaurant_type", "served_dish", "service", "sort", "spatial_relation", "state", "timeRange",
    "track", "year",
)  # fmt: skip
CASES = {name.lower(): name for name in ("O", *SLOTS)}
TRANSCRIPTS, SLOT_LIST = "all.iob.snips.txt", "slots.txt"
AGAIN = "Make the list again."
LAYOUT = """\
SNIPS/{train,valid,test}/<Speaker>-snips-<split>-<n>.wav     (or .mp3)
SNIPS/all.iob.snips.txt    "<Speaker>-snips-<split>-<n> BOS W1 ... WK EOS<tab>O s1 ... sK <Intent>", slots without B-/I-
SNIPS/slots.txt            (checked if it exists) O, then the 39 slots, one a line
"""
OBTAIN = """\
The sentences are CC0; the sound is under the terms of the voices. With SoX and its mp3 format (Debian: libsox-fmt-mp3), run in
the data root:
  git clone https://github.com/s3prl/s3prl
  bash s3prl/s3prl/preprocess/snips_prepare_data.sh "$PWD"
It fetches https://github.com/aws-samples/aws-lex-noisy-spoken-language-understanding with its sound (audio_slu_v3.zip) and
converts both to SNIPS/{train,valid,test}/*.wav, SNIPS/all.iob.snips.txt and SNIPS/slots.txt. Its
texts are made with the package normalise. Its last version, 0.1.8, works only with scikit-learn 0.23 or older (its classifiers
are pickled under names that 0.24 dropped): run the script in a separate environment with nltk, tqdm, normalise and
scikit-learn<0.24. s3prl's downstream/docs/superb.md links to the converted corpus, which needs none of this.
"""
PUBLISHED = {
    "train": 104_672, "train groups": 8,
    "dev": 2_800, "dev groups": 4,
    "test": 2_800, "test groups": 4,
}  # fmt: skip
"""Utterances and voices as published: 8 × 13 084, 4 × 700, 4 × 700."""


def read_fold(corpora: Corpora) -> Fold:
    """Reads the one fold; a label is the words with their slots, the group is the speaker.

    Raises `MissingCorpus`, `BadCorpus`.
    """
    root = corpora.place("SNIPS")
    if not (root / TRANSCRIPTS).is_file():
        raise IncompleteCorpus(
            f"{root / TRANSCRIPTS} does not exist. s3prl/preprocess/snips_prepare_data.sh in https://github.com/s3prl/s3prl "
            "makes it, and the .wav files; the package normalise, which it uses, needs an environment with scikit-learn<0.24."
        )
    _check_slot_list(root / SLOT_LIST)
    labels, low = _transcripts(root / TRANSCRIPTS)
    absent, unlisted = dict[str, Path](), list[Path]()

    def split(name: Literal["train", "dev", "test"], folder: str) -> Split:
        return _split(root, name, folder, labels, absent, unlisted)

    fold = Fold("all", split("train", "train"), split("dev", "valid"), split("test", "test"))
    if absent:
        listed = sum(len(split.items) for split in (fold.train, fold.dev, fold.test))
        raise MissingFiles([*absent.values()], listed, TRANSCRIPTS, "Unpack or convert the split again.")
    if unlisted:
        more = f" (and {len(unlisted) - 1} other files)" if len(unlisted) > 1 else ""
        raise BadCorpus(f"{unlisted[0]}{more} has no line in {root / TRANSCRIPTS}. Make the list again from the full corpus.")
    return replace(fold, remarks=tuple(_remarks(fold, low)))


def _remarks(fold: Fold, low: int) -> Iterator[str]:
    """Yields remarks on changes by the reader, and on characters outside the alphabet.

    The published list has such characters too.
    """
    if low:
        yield f"{low:,} lines of {TRANSCRIPTS} hold words or slots in another case, which were read as in the published list"
    items = [item for split in (fold.train, fold.dev, fold.test) for item in split.items]
    words = ((item.id, " ".join(_written(word) for word, _ in item.label)) for item in items)
    if strange := strangers(words, CHARACTERS):
        yield f"{strange}; each is <unk> in the references, as in s3prl"


def _written(word: str) -> str:
    """Returns a word as the alphabet encodes it: punctuation is skipped, `&` is AND."""
    return "" if word in PUNCTUATION or word == "&" else word


def _split(
    root: Path,
    name: Literal["train", "dev", "test"],
    folder: str,
    labels: Mapping[str, Slotted],
    absent: dict[str, Path],
    unlisted: list[Path],
) -> Split:
    """Returns the listed utterances of the split's speakers, in the order of the list (which may contain other speakers).

    Adds utterances without a sound file to `absent`, and unlisted sound files of these speakers to `unlisted`.
    """
    if not (root / folder).is_dir():
        raise IncompleteCorpus(
            f"{root / folder} does not exist. Expected the .wav files of the speakers {', '.join(SPEAKERS[folder])}."
        )
    sounds = _sounds(root / folder)
    labelled = {
        key: label for key, label in labels.items() if key.split("-")[0] in SPEAKERS[folder] and f"-snips-{folder}-" in key
    }
    absent |= {key: root / folder / f"{key}.wav" for key in labelled if key not in sounds}
    unlisted += [path for key, path in sounds.items() if key not in labelled and key.split("-")[0] in SPEAKERS[folder]]
    if not labelled:
        raise BadCorpus(f"{root / TRANSCRIPTS} lists no utterance of {', '.join(SPEAKERS[folder])} for {folder}.")
    paths = sounds | absent
    return Split(name, tuple(Item(key, Audio(paths[key]), label, (key.split("-")[0],)) for key, label in labelled.items()))


def _sounds(folder: Path) -> dict[str, Path]:
    """Returns sound files by utterance; a `.wav` is preferred to an `.mp3` of the same name."""
    paths = [path for pattern in ("*.mp3", "*.wav") for path in sorted(folder.glob(pattern)) if not path.name.startswith("._")]
    return {path.stem: path for path in paths}


def _transcripts(path: Path) -> tuple[dict[str, Slotted], int]:
    """Reads words in upper case and slots as in `SLOTS`, by utterance, and counts the lines that had another case."""
    lines = [(number, *_labelled(path, number, line)) for number, line in lines_of(path, AGAIN)]
    only_once(((key, f"line {number}") for number, key, *_ in lines), str(path), "utterances", AGAIN)
    return {key: label for _, key, label, _ in lines}, sum(low for *_, low in lines)


def _labelled(path: Path, number: int, line: str) -> tuple[str, Slotted, bool]:
    """Parses an utterance and its words with their slots.

    Also returns whether any was in another case than in the published list.
    """
    key, words, slots = _fields(path, number, line)
    upper, named = [word.upper() for word in words], [CASES.get(slot.lower(), slot) for slot in slots]
    if unknown := set(named) - {"O", *SLOTS}:
        raise BadCorpus(
            f"{path}, line {number}: {', '.join(sorted(unknown))} is none of the 39 slots of SNIPS (no B-, I- here). {AGAIN}"
        )
    return key, tuple(zip(upper, named, strict=True)), upper != words or named != slots


def _fields(path: Path, number: int, line: str) -> tuple[str, list[str], list[str]]:
    """Parses an utterance, its words and their slots, without BOS and EOS."""
    left, _, right = line.partition("\t")
    key, *words = left.split() or [""]
    slots = right.split()
    if len(words) != len(slots):  # if normalisation made a word empty, two spaces and its label remain
        words, slots = left.strip().split(" ")[1:], right.strip().split(" ")
    ends = [word.upper() for word in (*words[:1], *words[-1:])]
    if len(words) < 3 or ends != ["BOS", "EOS"] or len(words) != len(slots):
        raise BadCorpus(
            f'{path}, line {number}: expected "<id> BOS W1 ... EOS<tab>O s1 ... <Intent>", found {line[:200]!r}. {AGAIN}'
        )
    return key, words[1:-1], slots[1:-1]


def _check_slot_list(path: Path) -> None:
    if not path.is_file():
        return
    names = [CASES.get(name.lower(), name) for _, line in lines_of(path, AGAIN) for name in line.split()]
    if names[:1] != ["O"] or set(names[1:]) != set(SLOTS):
        odd = ", ".join(sorted(set(names[1:]) ^ set(SLOTS))) or f"{names[:1]} comes first"
        raise BadCorpus(f"{path}: expected O and then the 39 slots of SNIPS; these differ: {odd}. {AGAIN}")


# ---------------------------------------------------------------- the miniature

TEMPLATES = (
    ("AddToPlaylist", "add artist to my playlist list"),
    ("BookRestaurant", "book a restaurant_type in city"),
    ("BookRestaurant", "find cuisine food in state"),
    ("GetWeather", "will it be condition_temperature in city"),
    ("GetWeather", "is it condition_description timeRange"),
    ("PlayMusic", "play genre music by artist"),
    ("PlayMusic", "play the sort music_item"),
    ("RateBook", "give object_name rating_value stars"),
    ("RateBook", "rate this object_type rating_value"),
    ("SearchCreativeWork", "show me object_type object_name"),
    ("SearchScreeningEvent", "find movie_type timeRange"),
)
VALUES: Mapping[str, str] = {
    "artist": "elvis|nina|the doors|marcus|lily|johnny|sam cook|madonna|blondie|rosa",
    "playlist": "party|road trip|focus|running|dinner|sleepy|classics|rainy day|workout|summer",
    "music_item": "song|album|track|tune",
    "restaurant_type": "restaurant|bar|pub|bakery|cafe|tavern|diner",
    "city": "boston|denver|paris|austin|chicago|london|dallas|madrid|berlin|seattle",
    "state": "texas|maine|ohio|florida|utah|kansas|nevada|oregon|alaska|georgia",
    "cuisine": "greek|indian|thai|mexican|turkish|french|italian|spanish|chinese|korean",
    "condition_temperature": "hot|cold|warm|chilly|hotter|freezing|colder",
    "condition_description": "raining|snowing|windy|cloudy|sunny|foggy|stormy",
    "timeRange": "today|tomorrow|tonight|at noon|on friday|next week|on monday|this evening|at midnight|this weekend",
    "genre": "jazz|rock|folk|country|punk|gospel|reggae|techno|blues|classical",
    "sort": "latest|best|top|newest|oldest|popular",
    "object_name": "the last king|silent river|the red door|winter song|lost island|golden days|the old house|a new moon",
    "object_type": "book|novel|movie|show|saga|game|picture",
    "rating_value": "one|two|three|four|five|six",
    "movie_type": "films|movies|cartoons",
}
UNSEEN = 0.2
"""Share of slots in valid and test that get a value unseen in training."""

COUNTS = {"train": 40, "valid": 20, "test": 80}
"""Number of utterances of a speaker."""


def write_miniature(root: Path, seed: int) -> None:
    """Writes `root/SNIPS`: 320 / 80 / 320 utterances (about 18 minutes). A complete tree is kept."""
    top = root / "SNIPS"
    done = top / f".miniature-{seed}"
    if done.is_file():
        return
    lines: list[Line] = []
    rows: list[str] = []
    everyone = [(split, speaker) for split, speakers in SPEAKERS.items() for speaker in speakers]
    for number, (split, speaker) in enumerate(everyone):
        random = np.random.default_rng([seed, 6, number])
        speaker_voice = voice(seed, 40_000 + number)
        for utterance in range(COUNTS[split]):
            intent, label = _sentence(random, 0.0 if split == "train" else UNSEEN)
            key = f"{speaker}-snips-{split}-{utterance}"
            text = " ".join(word for word, _ in label)
            slots = " ".join(slot for _, slot in label)
            rows.append(f"{key} BOS {text.upper()} EOS\tO {slots} {intent}\n")
            speed = float(random.uniform(1.05, 1.25))
            lines.append(Line(top / split / f"{key}.wav", text, speaker_voice, seed=int(random.integers(2**31)), speed=speed))
    speak(lines)
    (top / TRANSCRIPTS).write_text("".join(rows))
    (top / SLOT_LIST).write_text("\n".join(["O", *SLOTS]))
    done.write_text("complete\n")


def _sentence(random: np.random.Generator, unseen: float) -> tuple[str, Slotted]:
    """Draws an intent and a sentence of it: each slot in a template gets one of its values."""
    intent, template = TEMPLATES[int(random.integers(len(TEMPLATES)))]
    return intent, tuple(pair for symbol in template.split() for pair in _filled(symbol, random, unseen))


def _filled(symbol: str, random: np.random.Generator, unseen: float) -> Iterator[tuple[str, str]]:
    if symbol not in VALUES:
        yield symbol, "O"
        return
    values = VALUES[symbol].split("|")
    new = [value for i, value in enumerate(values) if kept_from_training(i)]
    known = [value for value in values if value not in new]
    for word in str(random.choice(new if new and random.random() < unseen else known)).split():
        yield word, symbol
