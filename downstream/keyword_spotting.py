"""KS, keyword spotting: which of ten words was said, or another word, or nothing?

Corpus: Speech Commands v0.01 and its test archive: 51 088 / 6 798 / 3 081 utterances of at most 1 s, 16 kHz, in 12 classes.
Paper: Warden (2018), arXiv 1804.03209. Licence: CC BY 4.0.
Rules (protocol of SUPERB): the hash of a speaker decides between train and dev (a tenth). Another tenth would be a test set; it
is not used, because the test archive is. The six noise files are silence in train and in dev. Train draws classes equally; dev
and test are read completely and in order; the variant `sampled-dev` draws dev as s3prl does. Sound is 3 dB softer than in the
files.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from downstream.shared.lists import lines_of, must_be_there
from downstream.shared.pooled import PooledLinear
from downstream.shared.spoken_commands import KEYWORDS, NOISE, TEST, TRAIN, WORDS, write_miniature
from downstream.shared.upload import lines
from superbench import (
    SAMPLE_RATE,
    Audio,
    BadCorpus,
    Corpora,
    Fold,
    FreshCrops,
    Item,
    Prediction,
    Recipe,
    Score,
    Selection,
    Size,
    Split,
    Task,
    TaskCard,
    accuracy,
    audio_header,
    one_per_item,
)

UNKNOWN, SILENCE = "_unknown_", "_silence_"
CLASSES = (*KEYWORDS, UNKNOWN, SILENCE)
GAIN_DB = -3.0
SHORTEST = SAMPLE_RATE // 10
"""If the last slice of a noise file is shorter than 0.1 s, it is left out: some models return no frame for it."""

OBTAIN = f"""\
Free, CC BY 4.0. The archives unpack into the folder where they are, so make one for each:
  mkdir -p SpeechCommands/{TRAIN} SpeechCommands/{TEST}
  tar xzf {TRAIN}.tar.gz -C SpeechCommands/{TRAIN}
  tar xzf {TEST}.tar.gz -C SpeechCommands/{TEST}
from http://download.tensorflow.org/data/{TRAIN}.tar.gz (1.5 GB) and http://download.tensorflow.org/data/{TEST}.tar.gz.
Version 0.02 is another corpus.
"""
SIZES = {
    "train": (1_860, 1_853, 1_843, 1_842, 1_839, 1_852, 1_864, 1_839, 1_885, 1_861, 32_550, 6),
    "dev": (261, 270, 260, 264, 247, 256, 257, 256, 246, 260, 4_221, 6),
    "test": (256, 252, 272, 253, 267, 259, 246, 262, 249, 251, 257, 257),
}
"""Files of each class, in the order of `CLASSES`; silence of train and dev is the six noise files."""
AGAIN = "Unpack the archive of Speech Commands v0.01 again."
SAMPLED_DEV = "sampled-dev"
SEED = 1337
"""The seed that the reference sets before every evaluation, so that each evaluation draws the same dev items."""

OFFICIAL = Recipe(
    steps=200_000,
    batch=32,
    evaluate_every=5_000,
    learning_rates=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
    sampler="balanced",
    drop_last=True,
    fresh_crops=True,
    options={"silence": "crop"},
)

CARD = TaskCard(
    name="ks",
    title="Keyword spotting",
    version=1,
    domain="content",
    corpus="Speech Commands v0.01",
    licence="CC BY 4.0",
    paper="https://arxiv.org/abs/1804.03209",
    obtain=OBTAIN,
    layout=f"""\
SpeechCommands/{TRAIN}/<word>/<speaker hash>_nohash_<n>.wav     30 words (or {TRAIN}/ at the top)
SpeechCommands/{TRAIN}/{NOISE}/*.wav                 6 noise files
SpeechCommands/{TEST}/<class>/*.wav                    12 classes (or {TEST}/ at the top)
""",
    primary="accuracy",
    reads="mean",
    recipes={
        "superb": OFFICIAL,
        "superb-once": replace(OFFICIAL, fresh_crops=False, options={"silence": "slices"}),
        "mini": Recipe(
            steps=1_000,
            batch=32,
            evaluate_every=100,
            learning_rates=(1e-2, 1e-3, 1e-4),
            sampler="balanced",
            options={"silence": "slices"},
        ),
    },
    reference_points={"accuracy": (41.3826674, 96.66)},
    published={"accuracy": "ks_acc"},
    differences={
        "superb-once": "silence is the consecutive 1 s slices of the noise files, not a new random 1 s crop at each access",
        "mini": "silence is the consecutive 1 s slices of the noise files; 1 000 updates, three learning rates",
    },
    miniature="synthetic words: 900 / 150 / 576 files of 60 / 10 / 48 speakers, ten of the 20 unknown words only in "
    "test, 6 noise files of 5 s",
    sound="Speech Commands",
    # files of at most 1 s make up about 14 h; the six noise files are a twelfth of the draws, as silence is one class of twelve
    sizes={
        "train": Size(51_094, 14.0, FreshCrops(utterances=6, hours=0.11, share=1 / 12, seconds=1.0)),
        "dev": Size(6_804, 1.9),
        "test": Size(3_081, 0.8),
    },
    counts={split: sum(sizes) for split, sizes in SIZES.items()}
    | {f"{split}/{name}": n for split, sizes in SIZES.items() for name, n in zip(CLASSES, sizes, strict=True)},
    sample_rate=SAMPLE_RATE,
    variants={SAMPLED_DEV: "dev is drawn once, with replacement, classes equally, as many items as it has, as s3prl draws it"},
    question="Which word is said?",
    words={SILENCE: "silence", UNKNOWN: "another word"},
)


def read(corpora: Corpora) -> tuple[Fold, ...]:
    """Reads the one fold. Ids are `<folder>/<file>`; the group is the speaker's hash. Raises `MissingCorpus`, `BadCorpus`."""
    archive, test = _archive(corpora, TRAIN), _archive(corpora, TEST)
    sides: dict[str, list[Item]] = {"train": [], "dev": [], "unused": []}
    words = [word for word in WORDS if word in KEYWORDS or (archive / word).is_dir()]
    for path in (path for word in words for path in _sounds(archive / word)):
        label = path.parent.name if path.parent.name in KEYWORDS else UNKNOWN
        sides[side(path.name)].append(_item(path, label))
    _complete(archive)
    silence = [_item(path, SILENCE) for path in _sounds(archive / NOISE)]
    tested = [_item(path, label) for label in CLASSES for path in _sounds(test / label)]

    def split(name: Literal["train", "dev", "test"], items: Sequence[Item]) -> Split:
        return Split(name, tuple(items))

    return (Fold("all", split("train", sides["train"] + silence), split("dev", sides["dev"] + silence), split("test", tested)),)


def side(name: str) -> Literal["train", "dev", "unused"]:
    """Returns the split of a file: it depends on the SHA-1 of the speaker's hash (before `_nohash_`), as a percentage.

    From `which_set` of TensorFlow's speech commands tutorial with 10 % each for validation and testing.

    >>> side("026290a7_nohash_0.wav"), side("0c40e715_nohash_1.wav"), side("0165e0e8_nohash_0.wav")
    ('dev', 'unused', 'train')
    """
    digest = int(hashlib.sha1(_speaker(name).encode()).hexdigest(), 16)
    percentage = digest % 2**27 * 100 / (2**27 - 1)
    return "dev" if percentage < 10 else "unused" if percentage < 20 else "train"


def _speaker(name: str) -> str:
    return name.split("_nohash_")[0]


def _archive(corpora: Corpora, name: str) -> Path:
    """Returns the folder of an archive: in `SpeechCommands/`, or at the top."""
    inside = corpora.place("SpeechCommands", name) / name
    return inside if inside.is_dir() else corpora.place(name, f"SpeechCommands/{name}")


def _sounds(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.glob("*.wav") if not path.name.startswith("._"))
    if not files:
        raise BadCorpus(f"{folder} does not exist or contains no .wav file. {AGAIN}")
    return files


def _complete(archive: Path) -> None:
    """Raises `MissingFiles` if a file that the archive's own lists name does not exist."""
    for path in (archive / "validation_list.txt", archive / "testing_list.txt"):
        names = [line.strip() for _, line in lines_of(path, AGAIN)] if path.is_file() else []
        must_be_there((archive / name for name in names), str(path), AGAIN)


def _item(path: Path, label: str) -> Item:
    return Item(f"{path.parent.name}/{path.name}", Audio(path, gain_db=GAIN_DB), label, (_speaker(path.name),))


def prepare(split: Split, hop: int, recipe: Recipe) -> Split:
    """Cuts the noise files of train and dev into consecutive 1 s slices, or, with `silence: crop`, into a random 1 s crop.

    In train the crop is drawn again at each access; in dev it is always the same (the reference sets its seed before it
    evaluates). With `sampled-dev`, dev is drawn; an item that is drawn again gets a separate id and, if it is a noise file, a
    separate crop.
    """
    if split.name == "test":
        return split
    slices, sampled = recipe.options["silence"] == "slices", split.name == "dev" and SAMPLED_DEV in recipe.variants
    cut = _slices if slices else _fresh_crop if split.name == "train" else _fixed_crop
    uncut = _drawn(split.items) if sampled and not slices else split.items
    items = tuple(piece for item in uncut for piece in (cut(item) if item.label == SILENCE else (item,)))
    return replace(split, items=_drawn(items) if sampled and slices else items)


def _drawn(items: Sequence[Item]) -> tuple[Item, ...]:
    """Draws len(items) items with replacement, classes equally likely (weight N / count of the class)."""
    counts = Counter(item.label for item in items)
    weights = torch.tensor([len(items) / counts[item.label] for item in items], dtype=torch.float64)
    draws = torch.multinomial(weights, len(items), replacement=True, generator=torch.Generator().manual_seed(SEED)).tolist()
    return tuple(replace(items[index], id=f"{items[index].id}@{number}") for number, index in enumerate(draws))


def _fresh_crop(item: Item) -> Iterator[Item]:
    yield replace(item, audio=replace(item.audio, crop=SAMPLE_RATE))


def _fixed_crop(item: Item) -> Iterator[Item]:
    room = max(_samples(item) - SAMPLE_RATE, 0)
    start = int(hashlib.sha1(item.id.encode()).hexdigest(), 16) % (room + 1)
    yield replace(item, audio=replace(item.audio, start=start, end=start + SAMPLE_RATE))


def _samples(item: Item) -> int:
    samples, rate = audio_header(item.audio.path)
    return samples * SAMPLE_RATE // rate


def _slices(item: Item) -> Iterator[Item]:
    samples = _samples(item)
    for start in range(0, samples - SHORTEST + 1, SAMPLE_RATE):
        audio = replace(item.audio, start=start, end=min(start + SAMPLE_RATE, samples))
        yield replace(item, id=f"{item.id}#{start // SAMPLE_RATE}", audio=audio)


def head(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Builds Linear(dim, 256) → mean → Linear(256, 12)."""
    return PooledLinear(dim, CLASSES)


def score(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> dict[str, Score]:
    """Computes the accuracy over the files of the test archive, in percent."""
    return {"accuracy": accuracy(predictions)}


def synth(root: Path, seed: int) -> None:
    """Writes the miniature `SpeechCommands/`, which follows the rule of the hash."""
    write_miniature(root / "SpeechCommands", seed, side)


TASK = Task(
    card=CARD,
    read=read,
    prepare=prepare,
    head=head,
    select=Selection("accuracy", True, one_per_item),
    score=score,
    synth=synth,
    upload=lines("ks_public/predict.txt", lambda name: name.replace("/", "-")),
    predicts=str,
)
