"""IC, intent classification: what should be done to which thing, and where?

Corpus: Fluent Speech Commands, 23 132 / 3 118 / 3 793 utterances, 16 kHz; 31 intents of 6 actions, 14 objects, 4 places.
Paper: Lugosch et al. (Interspeech 2019), arXiv 1904.03670. Licence: Fluent Speech Commands Public License (academic).
Rules (protocol of SUPERB): the corpus' own split by speakers; an utterance is correct if all three slots are.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from torch import nn

from downstream.shared.fluent import INTENTS, LISTS, OBTAIN, SLOTS, in_words, write_miniature
from downstream.shared.lists import must_be_there, only_once, rows_of
from downstream.shared.pooled import PooledSlots
from superbench import (
    SAMPLE_RATE,
    Audio,
    BadCorpus,
    Corpora,
    Fold,
    Item,
    Prediction,
    Recipe,
    Score,
    Selection,
    Size,
    Split,
    Task,
    TaskCard,
    Upload,
    accuracy,
    one_per_item,
)

AGAIN = "Unpack the archive of Fluent Speech Commands again."

OFFICIAL = Recipe(steps=200_000, batch=32, evaluate_every=5_000, learning_rates=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5))

CARD = TaskCard(
    name="ic",
    title="Intent classification",
    version=1,
    domain="semantics",
    corpus="Fluent Speech Commands",
    licence="Fluent Speech Commands Public License",
    paper="https://arxiv.org/abs/1904.03670",
    obtain=OBTAIN,
    layout="""\
fluent_speech_commands_dataset/data/{train,valid,test}_data.csv       path, speakerId, transcription, action, object, location
fluent_speech_commands_dataset/wavs/speakers/<speakerId>/<id>.wav
""",
    primary="accuracy",
    reads="mean",
    recipes={
        "superb": OFFICIAL,
        "superb-once": OFFICIAL,
        "mini": Recipe(steps=1_200, batch=32, evaluate_every=100, learning_rates=(3e-3, 1e-3, 3e-4)),
    },
    reference_points={"accuracy": (9.649354219, 98.76)},
    published={"accuracy": "ic_acc"},
    differences={"superb-once": "nothing", "mini": "1 200 updates, three learning rates"},
    miniature="synthetic orders: 1 600 / 200 / 480 utterances of 40 / 10 / 40 speakers, 31 intents in several wordings",
    sound="Fluent Speech Commands",
    sizes={"train": Size(23_132, 14.7), "dev": Size(3_118, 1.9), "test": Size(3_793, 2.4)},  # the corpus' documentation
    counts={"train": 23_132, "train groups": 77, "dev": 3_118, "dev groups": 10, "test": 3_793, "test groups": 10},
    sample_rate=SAMPLE_RATE,
    withheld="the licence does not allow passing the data on",
    question="What should be done?",
    words={json.dumps(dict(zip(SLOTS, intent, strict=True)), sort_keys=True): in_words(*intent) for intent in INTENTS},
)


def read(corpora: Corpora) -> tuple[Fold, ...]:
    """Reads the one fold; a label is `{"action", "object", "location"}`, the group is the speaker. Raises `BadCorpus`."""
    root = corpora.place("fluent_speech_commands_dataset")
    listed = {name: _listed(root, root / "data" / file) for name, file in LISTS.items()}
    everything = [pair for items in listed.values() for pair in items]
    only_once(((item.id, location) for item, location in everything), str(root / "data"), "utterances", AGAIN)
    must_be_there((item.audio.path for item, _ in everything), "Fluent Speech Commands", AGAIN)

    def split(name: Literal["train", "dev", "test"]) -> Split:
        return Split(name, tuple(item for item, _ in listed[name]))

    return (Fold("all", split("train"), split("dev"), split("test")),)


def _listed(root: Path, path: Path) -> list[tuple[Item, str]]:
    """Returns the utterances of a list, each with its location in the list."""
    rows = rows_of(path, ("path", "speakerId", *SLOTS), AGAIN)
    items = [(_item(root, path, number, row), f"{path.name} line {number}") for number, row in rows]
    if not items:
        raise BadCorpus(f"{path} lists no utterance. {AGAIN}")
    return items


def _item(root: Path, listing: Path, number: int, row: Mapping[str, str]) -> Item:
    sound = root / row["path"]
    label = {slot: row[slot] for slot in SLOTS}
    for slot, value in label.items():
        if value not in SLOTS[slot]:
            raise BadCorpus(
                f"{listing}, line {number}: {value!r} is no {slot} of Fluent Speech Commands ({', '.join(SLOTS[slot])}). "
                "A program that read `none` as a missing value may have written this list."
            )
    return Item(sound.stem, Audio(sound), label, (row["speakerId"],))


def prepare(split: Split, hop: int, recipe: Recipe) -> Split:
    """Returns the split: nothing depends on the frame rate."""
    return split


def head(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Builds Linear(dim, 256) → mean → Linear(256, 6 + 14 + 4); the loss is the sum of three cross-entropies."""
    return PooledSlots(dim, SLOTS)


def score(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> dict[str, Score]:
    """Computes the share of utterances whose action, object and location are all correct, in percent."""
    return {"accuracy": accuracy(predictions)}


def upload(predictions: Sequence[Prediction], hop: int) -> Upload:
    """Returns lines `<utterance>,<action>,<object>,<location>`, without a header."""
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(
        [answer.id, *(answer.prediction[slot] for slot in SLOTS)] for answer in predictions
    )
    return Upload({"ic_public/predict.csv": table.getvalue().encode()})


def synth(root: Path, seed: int) -> None:
    """Writes the miniature `fluent_speech_commands_dataset/`."""
    write_miniature(root / "fluent_speech_commands_dataset", seed)


TASK = Task(
    card=CARD,
    read=read,
    prepare=prepare,
    head=head,
    select=Selection("accuracy", True, one_per_item),
    score=score,
    synth=synth,
    upload=upload,
    predicts=dict[str, str],
)
