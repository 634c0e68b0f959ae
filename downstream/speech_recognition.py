"""ASR, speech recognition: which words are spoken?

Corpus: LibriSpeech, train-clean-100 / dev-clean / test-clean: 28 539 / 2 703 / 2 620 utterances. Licence: CC BY 4.0.
Paper: Panayotov, Chen, Povey, Khudanpur (ICASSP 2015).
Rules (protocol of SUPERB): letters; two BLSTM layers trained by CTC with SpecAug; decoded greedily, without a language model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from downstream.shared.ctc import BlstmStack, CtcHead
from downstream.shared.librispeech import LAYOUT, read_fold, write_miniature
from downstream.shared.specaug import SpecAug
from downstream.shared.text import LetterAlphabet, word_edits
from superbench import Corpora, Fold, Prediction, Recipe, Score, Selection, Size, Split, Task, TaskCard, one_per_item, ratio

OFFICIAL = Recipe(
    steps=200_000,
    batch=32,
    evaluate_every=2_000,
    learning_rates=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
    sampler="buckets",
    halve_above=2_000,  # samples, so every group is cut: the batch is really 16, as in the source
    drop_last=True,
    evaluate_batch=1,
    options={"width": 1024, "feature_width": 50, "time_width": 40},
)

CARD = TaskCard(
    name="asr",
    title="Speech recognition",
    version=1,
    domain="content",
    corpus="LibriSpeech (train-clean-100, dev-clean, test-clean)",
    licence="CC BY 4.0",
    paper="https://doi.org/10.1109/ICASSP.2015.7178964",
    obtain="OpenSLR 12: unpack train-clean-100.tar.gz, dev-clean.tar.gz and test-clean.tar.gz.",
    layout=LAYOUT,
    primary="wer",
    reads="frames",
    recipes={
        "superb": OFFICIAL,
        "superb-once": OFFICIAL,
        "mini": Recipe(
            steps=1_000,
            batch=8,
            evaluate_every=100,
            learning_rates=(3e-3,),
            sampler="buckets",
            drop_last=True,
            evaluate_batch=32,
            options={"width": 96, "feature_width": 16, "time_width": 4},
        ),
    },
    reference_points={"wer": (23.18, 3.62)},
    published={"wer": "asr_wer"},
    differences={
        "superb-once": "nothing",
        "mini": "sentences of 3-6 words, 320 / 60 / 304 utterances of 1-2.5 s; BLSTM of 96 in place of 1 024; SpecAug "
        "masks up to 15 features and 3 frames in place of 49 and 39; 1 000 updates of 8 utterances, one learning rate",
    },
    sound="LibriSpeech clean",
    sizes={"train": Size(28_539, 100.6), "dev": Size(2_703, 5.4), "test": Size(2_620, 5.4)},  # hours: the corpus' own README
    withheld="the references are whole transcripts, to be had from the publisher with the attribution that CC BY 4.0 asks for",
)


def read(corpora: Corpora) -> tuple[Fold, ...]:
    """The one fold; a label is the transcript in upper case. Raises `MissingCorpus`, `BadCorpus`."""
    return (read_fold(corpora),)


def prepare(split: Split, hop: int, recipe: Recipe) -> Split:
    """Nothing depends on the frame rate."""
    return split


def head(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """SpecAug → Linear(dim, 1024) → 2 × [BLSTM(1024) → dropout 0.2] → Linear(2048, 32), CTC."""
    alphabet, options = LetterAlphabet(), recipe.options
    augment = SpecAug(feature_width=options["feature_width"], time_width=options["time_width"])
    return CtcHead(BlstmStack(dim, len(alphabet.symbols), augment, options["width"]), alphabet)


def score(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> dict[str, Score]:
    """WER = edits / reference words, summed over the corpus, in percent.

    >>> score([Prediction("a", "all", (), "HELLO WORLD", "HELLO")], {})["wer"].value
    50.0
    """
    errors, words = word_edits([str(p.reference) for p in predictions], [str(p.prediction) for p in predictions])
    counts = {"errors": float(sum(errors)), "words": float(sum(words))}
    return {"wer": ratio(errors, words, higher_is_better=False, counts=counts)}


def synth(root: Path, seed: int) -> None:
    """Write the miniature LibriSpeech that PR and ASR share."""
    write_miniature(root, seed)


TASK = Task(
    card=CARD, read=read, prepare=prepare, head=head, select=Selection("wer", False, one_per_item), score=score, synth=synth
)
