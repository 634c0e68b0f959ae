"""PR, phoneme recognition: which phones, with their stress, are spoken?

Corpus: LibriSpeech, train-clean-100 / dev-clean / test-clean: 28 539 / 2 703 / 2 620 utterances. Licence: CC BY 4.0.
Paper: Panayotov, Chen, Povey, Khudanpur (ICASSP 2015).
Rules (protocol of SUPERB): phones come from a lexicon (first pronunciation, no silence, no word boundaries), 71 with stress; a
linear head trained by CTC, decoded greedily.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from downstream.shared.ctc import CtcHead, FrameLinear
from downstream.shared.few_shot_phones import FEW_SHOT
from downstream.shared.librispeech import (
    LAYOUT,
    LEXICON_LAYOUT,
    OBTAIN,
    OBTAIN_LEXICON,
    PUBLISHED,
    pronunciations,
    read_fold,
    transcripts,
    write_miniature,
)
from downstream.shared.text import PhoneAlphabet, word_edits
from downstream.shared.upload import lines
from superbench import (
    SAMPLE_RATE,
    Corpora,
    Fold,
    Prediction,
    Recipe,
    Score,
    Selection,
    Size,
    Split,
    Task,
    TaskCard,
    one_per_item,
    ratio,
)

OFFICIAL = Recipe(
    steps=100_000,
    batch=16,
    accumulate=2,
    evaluate_every=1_000,
    learning_rates=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
    sampler="windows",
    halve_above=300_000,
    evaluate_batch=16,
)

CARD = TaskCard(
    name="pr",
    title="Phoneme recognition",
    version=1,
    domain="content",
    corpus="LibriSpeech (train-clean-100, dev-clean, test-clean)",
    licence="CC BY 4.0",
    paper="https://doi.org/10.1109/ICASSP.2015.7178964",
    obtain=OBTAIN + OBTAIN_LEXICON,
    layout=LAYOUT + LEXICON_LAYOUT,
    primary="per",
    reads="frames",
    recipes={
        "superb": OFFICIAL,
        "superb-once": OFFICIAL,
        "mini": Recipe(steps=450, batch=16, evaluate_every=150, learning_rates=(5e-3,), sampler="windows", evaluate_batch=32),
    },
    reference_points={"per": (82.01, 3.53)},
    published={"per": "pr_per"},
    differences={"superb-once": "nothing", "mini": "450 updates of 16 utterances, one learning rate"},
    miniature="synthetic sentences of 3-6 words, 640 / 60 / 304 utterances of 1-2.5 s",
    sound="LibriSpeech clean",
    sizes={"train": Size(28_539, 100.6), "dev": Size(2_703, 5.4), "test": Size(2_620, 5.4)},  # hours: the corpus' own README
    counts=PUBLISHED,
    sample_rate=SAMPLE_RATE,
    withheld="the references are complete transcripts; the publisher offers them, and CC BY 4.0 requires attribution",
)


def read(corpora: Corpora) -> tuple[Fold, ...]:
    """Reads the one fold; a label is the phones of the transcript joined by spaces. Raises `MissingCorpus`, `BadCorpus`."""
    lexicon = pronunciations(corpora, transcripts(corpora))

    def phones(text: str) -> str:
        return " ".join(lexicon.phones[word] for word in text.split())

    fold = read_fold(corpora, phones)
    return (replace(fold, remarks=(*fold.remarks, *lexicon.remarks)),)


def prepare(split: Split, hop: int, recipe: Recipe) -> Split:
    """Returns the split: nothing depends on the frame rate."""
    return split


def head(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Builds Linear(dim, 256) → Linear(256, 74) at every frame, trained by CTC."""
    alphabet = PhoneAlphabet()
    return CtcHead(FrameLinear(dim, len(alphabet.symbols)), alphabet)


def score(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> dict[str, Score]:
    """Computes PER = edits / reference phones, summed over the corpus, in percent.

    >>> score([Prediction("a", "all", (), "HH AH0 L OW1", "HH AH1 L")], {})["per"].value
    50.0
    """
    errors, phones = word_edits([str(p.reference) for p in predictions], [str(p.prediction) for p in predictions])
    counts = {"errors": float(sum(errors)), "phones": float(sum(phones))}
    return {"per": ratio(errors, phones, higher_is_better=False, counts=counts)}


def synth(root: Path, seed: int) -> None:
    """Writes the miniature LibriSpeech, which PR and ASR share."""
    write_miniature(root, seed)


TASK = Task(
    card=CARD,
    read=read,
    prepare=prepare,
    head=head,
    select=Selection("per", False, one_per_item),
    score=score,
    synth=synth,
    upload=lines("pr_public/predict.ark"),
    few_shot=FEW_SHOT,
    predicts=str,
)
