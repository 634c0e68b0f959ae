"""SF, slot filling: which slots does a spoken order fill, and with which words? Words are written together with their slots.

Corpus: Audio SNIPS, 104 672 / 2 800 / 2 800 utterances of 8 / 4 / 4 synthetic voices. Paper: Lai et al. (ICASSP 2021).
Licence: CC0 for the sentences; the voices' terms for the sound.
Rules (protocol of SUPERB): characters and slot tags in one sequence (`SET A B-room BEDROOM E-room ALARM`), the head of ASR,
decoded greedily.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch import nn

from downstream.shared.ctc import BlstmStack, CtcHead
from downstream.shared.snips import LAYOUT, OBTAIN, PUBLISHED, SLOTS, read_fold, write_miniature
from downstream.shared.specaug import SpecAug
from downstream.shared.text import SlotAlphabet, character_edits, spelled
from downstream.shared.upload import lines
from superbench import (
    CENTRINGS,
    SAMPLE_RATE,
    Answers,
    BadCorpus,
    Corpora,
    Episode,
    FewShot,
    Fold,
    Item,
    LayerFeatures,
    Outputs,
    Prediction,
    Recipe,
    Score,
    Selection,
    Setting,
    Size,
    Split,
    Task,
    TaskCard,
    centred,
    draw_order,
    ratio,
)

OFFICIAL = Recipe(
    steps=200_000,
    batch=32,
    evaluate_every=2_000,
    learning_rates=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
    sampler="windows",
    halve_above=300_000,
    options={"width": 1024, "feature_width": 50, "time_width": 40},
)

CARD = TaskCard(
    name="sf",
    title="Slot filling",
    version=1,
    domain="semantics",
    corpus="Audio SNIPS",
    licence="CC0 (sentences)",
    paper="https://arxiv.org/abs/2010.13826",
    obtain=OBTAIN,
    layout=LAYOUT,
    primary="slot_type_f1",
    reads="frames",
    recipes={
        "superb": OFFICIAL,
        "superb-once": OFFICIAL,
        "mini": Recipe(
            steps=1_600,
            batch=4,
            evaluate_every=200,
            learning_rates=(2e-3,),
            sampler="windows",
            options={"width": 128, "feature_width": 16, "time_width": 4},
        ),
    },
    reference_points={"slot_type_f1": (69.64, 89.81), "slot_value_cer": (52.94, 21.76)},
    published={"slot_type_f1": "sf_f1", "slot_value_cer": "sf_cer"},
    differences={
        "superb-once": "nothing",
        "mini": "BLSTM of 128 in place of 1 024; SpecAug masks up to 15 features and 3 frames in place of 49 and 39; 1 600 "
        "updates of 4 utterances, one learning rate",
    },
    miniature="14 sentence patterns over 7 intents, 26 of the 39 slots, 320 / 80 / 320 synthetic utterances",
    sound="Audio SNIPS",
    sizes={"train": Size(104_672, 85.0), "dev": Size(2_800, 2.3), "test": Size(2_800, 2.3)},  # hours approximate
    counts=PUBLISHED,
    sample_rate=SAMPLE_RATE,
    withheld="the references are complete transcripts; the publisher offers them",
)


def read(corpora: Corpora) -> tuple[Fold, ...]:
    """Reads the one fold; a label is the words with their slots. Raises `MissingCorpus`, `BadCorpus`."""
    return (read_fold(corpora),)


def prepare(split: Split, hop: int, recipe: Recipe) -> Split:
    """Returns the split: nothing depends on the frame rate."""
    return split


def head(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Builds SpecAug → Linear(dim, 1024) → 2 × [BLSTM(1024) → dropout 0.2] → Linear(2048, 109), CTC."""
    alphabet, options = SlotAlphabet(SLOTS), recipe.options
    augment = SpecAug(feature_width=options["feature_width"], time_width=options["time_width"])
    return CtcHead(BlstmStack(dim, len(alphabet.symbols), augment, options["width"]), alphabet)


def candidates(fold: str, split: Split, outputs: Outputs, only: Setting | None) -> Iterable[tuple[Setting, list[Prediction]]]:
    """Yields the answers unchanged. The reference is the target as it is printed, with tags and the quirks of s3prl."""
    alphabet = SlotAlphabet(SLOTS)
    yield (
        {},
        [
            Prediction(
                id=item.id,
                fold=fold,
                group=item.group,
                reference=spelled(alphabet, alphabet.encode(item.label)),
                prediction=outputs[item.id],
            )
            for item in split.items
        ],
    )


def score(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> dict[str, Score]:
    """Computes the F1 of slot types, averaged over utterances, and the CER of slot values, both in percent.

    >>> rows = [Prediction("a", "all", (), "SET A B-room BEDROOM E-room ALARM", "SET B-room BEDROM E-room B-city ALARM E-city")]
    >>> {name: round(score.value, 2) for name, score in score(rows, {}).items()}
    {'slot_type_f1': 66.67, 'slot_value_cer': 14.29}
    """
    pairs = [(slots(str(p.reference)), slots(str(p.prediction))) for p in predictions]
    types = [type_f1(set(reference), set(hypothesis)) for reference, hypothesis in pairs]
    edits = [value_edits(reference, hypothesis) for reference, hypothesis in pairs]
    errors, characters = [pair[0] for pair in edits], [pair[1] for pair in edits]
    utterances, wrong = (
        {"f1": sum(types), "utterances": float(len(types))},
        {"errors": float(sum(errors)), "characters": float(sum(characters))},
    )
    return {
        "slot_type_f1": ratio(types, [1.0] * len(types), higher_is_better=True, counts=utterances),
        "slot_value_cer": ratio(errors, characters, higher_is_better=False, counts=wrong),
    }


def slots(text: str) -> dict[str, list[str]]:
    """Returns slot type → values. No word boundary ends the closing tag, as in the reference implementation.

    >>> slots("PLAY B-artist NINA STONE E-artist ON B-service SPOTIFY E-service")
    {'artist': ['NINA STONE'], 'service': ['SPOTIFY']}
    """
    values: dict[str, list[str]] = {}
    for slot, value in re.findall(r"B-(\S+) (.+?) E-\1", re.sub(r" +", " ", text)):
        values.setdefault(slot, []).append(value)
    return values


def type_f1(reference: set[str], hypothesis: set[str]) -> float:
    """Computes 2PR / (P + R) of two sets: 2 · |common| / (|reference| + |hypothesis|); 1 if both are empty."""
    return 2 * len(reference & hypothesis) / (len(reference) + len(hypothesis)) if reference or hypothesis else 1.0


def value_edits(reference: Mapping[str, Sequence[str]], hypothesis: Mapping[str, Sequence[str]]) -> tuple[int, int]:
    """Counts character edits and reference characters of an utterance.

    Compares each reference value with the nearest of its type.
    A type that the hypothesis lacks counts as an empty value, and so does a type whose values all need 100 times the
    reference's length in edits or more, as in the source. Types that only the hypothesis has do not count.
    """
    errors = characters = 0
    for slot, values in reference.items():
        hypotheses = [_untagged(value) for value in hypothesis.get(slot, [""])]
        for value in values:
            distances, lengths = character_edits([value] * len(hypotheses), hypotheses)
            nearest = min(distances)
            errors, characters = errors + (nearest if nearest < 100 * lengths[0] else lengths[0]), characters + lengths[0]
    return errors, characters


def _untagged(value: str) -> str:
    return re.sub(r" E-\S+", "", re.sub(r"B-\S+ ", "", value))


def synth(root: Path, seed: int) -> None:
    """Writes the miniature SNIPS."""
    write_miniature(root, seed)


# ---------------------------------------------------------------- without a gradient

ROWS = 1_024
"""Utterances that are compared with all examples at once."""


def nearest(
    fold: Fold, split: Split, episodes: Sequence[Episode], settings: Sequence[Setting], features: LayerFeatures
) -> Answers:
    """Yields, for every utterance, the words and slots of the nearest example by the cosine of centred means."""
    allowed, texts = _examples(fold)
    drawn = [(episode, _drawn(texts, episode, fold.name)) for episode in episodes]
    train, asked = features.means(fold.train.items), features.means(split.items)
    for setting in settings:
        examples, questions = centred(train, asked, setting)
        for episode, rows in drawn:
            pool = examples[torch.from_numpy(allowed[rows])].T.contiguous()
            found = torch.cat([(part @ pool).argmax(1) for part in questions.split(ROWS)]).numpy()
            outputs = {item.id: texts[row] for item, row in zip(split.items, rows[found].tolist(), strict=True)}
            for _, predictions in candidates(fold.name, split, outputs, None):
                yield episode, setting, predictions


def _examples(fold: Fold) -> tuple[np.ndarray, list[str]]:
    """Returns the positions of the training utterances by no speaker of test, and their texts with slots."""
    tested = {group for item in fold.test.items for group in item.group}
    allowed = [i for i, item in enumerate(fold.train.items) if tested.isdisjoint(item.group)]
    if not allowed:
        raise BadCorpus("Every training utterance is by a speaker of test, so there are no examples. Complete the corpus.")
    return np.array(allowed), _printed(fold.train.items[i] for i in allowed)


def _printed(items: Iterable[Item]) -> list[str]:
    alphabet = SlotAlphabet(SLOTS)
    return [spelled(alphabet, alphabet.encode(item.label)) for item in items]


def _drawn(texts: Sequence[str], episode: Episode, fold: str) -> np.ndarray:
    """Returns the positions of the examples: the first K utterances of each slot type in the order of the draw."""
    if episode.shots == "all":
        return np.arange(len(texts))
    order = draw_order(len(texts), episode.draw, fold, "slots")
    counts, chosen = Counter[str](), []
    for position in order.tolist():
        types = slots(texts[position])
        if any(counts[slot] < episode.shots for slot in types):
            chosen.append(position)
        counts.update(types.keys())
    return np.array(chosen)


def floor(fold: Fold) -> float:
    """Returns the F1 on test of one answer for every utterance: the training answer that would be best on train."""
    answers = Counter(frozenset(slots(text)) for text in _examples(fold)[1])
    likely = [set(types) for types, _ in answers.most_common(MOST_ANSWERS)]
    best = max(likely, key=lambda types: sum(count * type_f1(set(other), types) for other, count in answers.items()))
    return 100.0 * mean(type_f1(set(slots(text)), best) for text in _printed(fold.test.items))


MOST_ANSWERS = 200
"""Training answers, the most frequent ones, that are tried as the one answer of the floor."""

FEW_SHOT = FewShot(
    question="Which slots does the order fill, and with which words?",
    counted="examples of each slot type",
    shots=(1, 2, 5, 10, 20, "all"),
    answer=nearest,
    floor=floor,
    settings=CENTRINGS,
    available=lambda fold: min(Counter(slot for text in _examples(fold)[1] for slot in slots(text)).values()),
    weak="an utterance gets the slots of its nearest example as they are, so other words and combinations are always wrong",
)

TASK = Task(
    card=CARD,
    read=read,
    prepare=prepare,
    head=head,
    select=Selection("slot_type_f1", True, candidates),
    score=score,
    synth=synth,
    upload=lines("sf_public/predict.ark"),
    few_shot=FEW_SHOT,
    predicts=str,
)
