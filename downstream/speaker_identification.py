"""SID, speaker identification: who of 1 251 celebrities is speaking?

Corpus: VoxCeleb1, identification split (`iden_split.txt`): 138 361 / 6 904 / 8 251 utterances of the same 1 251 speakers.
Paper: Nagrani, Chung, Zisserman (2017), arXiv 1706.08612. Licence: CC BY 4.0.
Rules (protocol of SUPERB): train on random 8 s crops, evaluate on complete utterances; labels are always all 1 251 speakers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from torch import nn

from downstream.shared.pooled import PooledLinear
from downstream.shared.upload import dashed, lines
from downstream.shared.voxceleb import LAYOUT, OBTAIN, OBTAIN_SPLIT, SPEAKERS, VoxCeleb, speaker_of, write_miniature
from superbench import (
    SAMPLE_RATE,
    Audio,
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
    one_per_item,
)

OFFICIAL = Recipe(
    steps=200_000,
    batch=8,
    accumulate=4,
    evaluate_every=5_000,
    learning_rates=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
    evaluate_batch=1,
    fresh_crops=True,
    options={"crop": "random", "crop_seconds": 8.0},
)

CARD = TaskCard(
    name="sid",
    title="Speaker identification",
    version=1,
    domain="speaker",
    corpus="VoxCeleb1, identification split",
    licence="CC BY 4.0",
    paper="https://arxiv.org/abs/1706.08612",
    obtain=OBTAIN + OBTAIN_SPLIT,
    layout=LAYOUT,
    primary="accuracy",
    reads="mean",
    recipes={
        "superb": OFFICIAL,
        "superb-once": replace(OFFICIAL, fresh_crops=False, options={}),
        "mini": Recipe(steps=600, batch=32, evaluate_every=100, learning_rates=(1e-1, 1e-2, 1e-3)),
    },
    reference_points={"accuracy": (20.058174, 90.3)},
    published={"accuracy": "sid_acc"},
    differences={
        "superb-once": "trains on complete utterances in place of a new random 8 s crop in every epoch",
        "mini": "600 updates, three learning rates",
    },
    miniature="100 synthetic speakers (of the 1 251 classes), 700 / 100 / 360 utterances of 2-3 s",
    sound="VoxCeleb1",
    # 8.2 s on average, 4 s at least (the paper); assumed, not documented: 35 % are longer than 8 s, the others 5.2 s on average
    sizes={
        "train": Size(138_361, 316.0, FreshCrops(utterances=48_426, hours=187.0, share=0.35, seconds=8.0)),
        "dev": Size(6_904, 16.0),
        "test": Size(8_251, 19.0),
    },
    counts={"train": 138_361, "train groups": 1_251, "dev": 6_904, "test": 8_251},
    sample_rate=SAMPLE_RATE,
    question="Who is speaking?",
)


def read(corpora: Corpora) -> tuple[Fold, ...]:
    """Reads the one fold; the label and the group of an utterance are its speaker. Raises `MissingCorpus`, `BadCorpus`."""
    corpus = VoxCeleb.under(corpora)
    lists = corpus.identification()
    corpus.must_hold((name for names in lists.values() for name in names), "the identification split of VoxCeleb1")

    def split(name: Literal["train", "dev", "test"]) -> Split:
        return Split(name, tuple(_item(corpus, utterance) for utterance in lists[name]))

    return (Fold("all", split("train"), split("dev"), split("test"), remarks=corpus.remarks),)


def _item(corpus: VoxCeleb, utterance: str) -> Item:
    speaker = speaker_of(utterance)
    return Item(utterance, Audio(corpus.path(utterance)), speaker, (speaker,))


def prepare(split: Split, hop: int, recipe: Recipe) -> Split:
    """Returns the split. With `crop: random`, training crops are drawn again at each access."""
    if split.name != "train" or recipe.options.get("crop") != "random":
        return split
    crop = round(recipe.options["crop_seconds"] * SAMPLE_RATE)
    return replace(split, items=tuple(replace(item, audio=replace(item.audio, crop=crop)) for item in split.items))


def head(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Builds Linear(dim, 256) → mean → Linear(256, 1 251)."""
    return PooledLinear(dim, SPEAKERS)


def score(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> dict[str, Score]:
    """Computes the accuracy over the utterances of the test list, in percent."""
    return {"accuracy": accuracy(predictions)}


def synth(root: Path, seed: int) -> None:
    """Writes the miniature VoxCeleb1, which SID and ASV share."""
    write_miniature(root, seed)


TASK = Task(
    card=CARD,
    read=read,
    prepare=prepare,
    head=head,
    select=Selection("accuracy", True, one_per_item),
    score=score,
    synth=synth,
    upload=lines("sid_public/predict.txt", dashed),
    predicts=str,
)
