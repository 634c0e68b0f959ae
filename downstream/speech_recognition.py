"""ASR, speech recognition: which words are spoken?

Corpus: LibriSpeech, train-clean-100 / dev-clean / test-clean: 28 539 / 2 703 / 2 620 utterances. Licence: CC BY 4.0.
Paper: Panayotov, Chen, Povey, Khudanpur (ICASSP 2015).
Rules (protocol of SUPERB): letters; two BLSTM layers trained by CTC with SpecAug; decoded greedily, without a language model;
dev chooses by this score. If the corpus folder has a word n-gram, the chosen weights also decode test with it: `wer_lm`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from downstream.shared.beam import WordBeam, require
from downstream.shared.ctc import BlstmStack, CtcHead
from downstream.shared.few_shot_words import FEW_SHOT
from downstream.shared.librispeech import LAYOUT, OBTAIN, PUBLISHED, read_fold, write_miniature
from downstream.shared.specaug import SpecAug
from downstream.shared.text import LETTERS, LetterAlphabet, strangers, word_edits
from downstream.shared.upload import lines
from superbench import (
    SAMPLE_RATE,
    BadCorpus,
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
    Upload,
    one_per_item,
    ratio,
)

MODELS = ("4-gram.bin", "4-gram.arpa.gz", "4-gram.arpa")
LEXICON = "librispeech_lexicon.lst"

OFFICIAL = Recipe(
    steps=200_000,
    batch=32,
    evaluate_every=2_000,
    learning_rates=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
    sampler="buckets",
    halve_above=2_000,  # samples, so every group is halved: the batch has 16 utterances, as in the source
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
    obtain=OBTAIN
    + """\
For wer_lm, the score with a language model: pip install 'speech-superbench[lm]', and in LibriSpeech/
4-gram.arpa.gz (OpenSLR 11) and librispeech_lexicon.lst (fairseq, examples/wav2vec).
""",
    layout=LAYOUT
    + """\
LibriSpeech/4-gram.arpa.gz                       optional, for wer_lm: also .arpa, or KenLM's .bin (or where superbench.toml
                                                 says: [data] lm = "...", lm_lexicon = "...")
LibriSpeech/librispeech_lexicon.lst              with it: "WORD<tab>W O R D |"
""",
    primary="wer",
    reads="frames",
    recipes={
        "superb": OFFICIAL,
        "superb-once": OFFICIAL,
        "mini": Recipe(
            steps=2_000,
            batch=4,
            evaluate_every=200,
            learning_rates=(2e-3,),
            sampler="buckets",
            drop_last=True,
            evaluate_batch=32,
            options={"width": 128, "feature_width": 16, "time_width": 4},
        ),
    },
    reference_points={"wer": (23.18, 3.62)},
    published={"wer": "asr_wer", "wer_lm": "asr_lm_wer"},
    differences={
        "superb-once": "nothing",
        "mini": "BLSTM of 128 in place of 1 024; SpecAug masks up to 15 features and 3 frames in place of 49 and 39; 2 000 "
        "updates of 4 utterances, one learning rate",
    },
    miniature="synthetic sentences of 3-6 words, 640 / 60 / 304 utterances of 1-2.5 s",
    sound="LibriSpeech clean",
    sizes={"train": Size(28_539, 100.6), "dev": Size(2_703, 5.4), "test": Size(2_620, 5.4)},  # hours: the corpus' own README
    counts=PUBLISHED,
    sample_rate=SAMPLE_RATE,
    withheld="the references are complete transcripts; the publisher offers them, and CC BY 4.0 requires attribution",
)


def read(corpora: Corpora) -> tuple[Fold, ...]:
    """Reads the one fold; a label is the transcript in upper case.

    Raises `MissingCorpus`, `BadCorpus`, and `MissingExtra` if there is a language model but its decoder is not installed.
    """
    fold = read_fold(corpora)
    texts = ((item.id, item.label) for split in (fold.train, fold.dev, fold.test) for item in split.items)
    if strange := strangers(texts, LETTERS):
        raise BadCorpus(
            f"The transcripts of LibriSpeech: {strange}. ASR writes A-Z and apostrophes: spell out numbers, remove "
            "punctuation, or unpack the archive again."
        )
    return (replace(fold, files=language_model(corpora)),)


def language_model(corpora: Corpora) -> dict[str, Path]:
    """Finds the word n-gram `lm` and its `lexicon`: by superbench.toml, otherwise in LibriSpeech's folder; empty without both.

    Raises `BadCorpus` if only one of them exists, `MissingExtra` without the decoder.
    """
    beside, named = corpora.place("LibriSpeech"), corpora.places
    models = [named["lm"]] if "lm" in named else [beside / name for name in MODELS]
    model = next((path for path in models if path.is_file()), None)
    if model is None and not {"lm", "lm_lexicon"} & named.keys():
        return {}
    near = [folder / LEXICON for folder in dict.fromkeys([model.parent if model else beside, beside])]
    lexicons = [named["lm_lexicon"]] if "lm_lexicon" in named else near
    lexicon = next((path for path in lexicons if path.is_file()), None)
    if model is None or lexicon is None:
        missing, paths = ("language model", models) if model is None else ("lexicon of the language model", lexicons)
        raise BadCorpus(
            f"The {missing} is missing: looked for {' and '.join(map(str, paths))}. Decoding needs both. "
            f"4-gram.arpa.gz is on OpenSLR 11, {LEXICON} is fairseq's (examples/wav2vec). Put both into {beside}, or name them "
            'in superbench.toml: [data] lm = "...", lm_lexicon = "...". Without a language model, only wer is measured.'
        )
    require()
    return {"lm": model, "lexicon": lexicon}


def prepare(split: Split, hop: int, recipe: Recipe) -> Split:
    """Returns the split: nothing depends on the frame rate."""
    return split


def head(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Builds SpecAug → Linear(dim, 1024) → 2 × [BLSTM(1024) → dropout 0.2] → Linear(2048, 32), CTC."""
    alphabet, options = LetterAlphabet(), recipe.options
    augment = SpecAug(feature_width=options["feature_width"], time_width=options["time_width"])
    search = WordBeam(alphabet.symbols, fold.files["lm"], fold.files["lexicon"]) if fold.files else None
    return CtcHead(BlstmStack(dim, len(alphabet.symbols), augment, options["width"]), alphabet, search)


def score(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> dict[str, Score]:
    """Computes WER = edits / reference words, summed over the corpus, in percent; `wer_lm` is the WER with a language model.

    >>> score([Prediction("a", "all", (), "HELLO WORLD", "HELLO")], {})["wer"].value
    50.0
    """
    scores = {"wer": _rate(predictions, [p.prediction for p in predictions])}
    if any(p.also for p in predictions):
        scores["wer_lm"] = _rate(predictions, [p.also["lm"] for p in predictions])
    return scores


def _rate(predictions: Sequence[Prediction], hypotheses: Sequence[Any]) -> Score:
    errors, words = word_edits([str(p.reference) for p in predictions], [str(text) for text in hypotheses])
    counts = {"errors": float(sum(errors)), "words": float(sum(words))}
    return ratio(errors, words, higher_is_better=False, counts=counts)


def upload(predictions: Sequence[Prediction], hop: int) -> Upload:
    """Returns the greedy transcripts, and those of the language model if the result has them."""
    greedy = lines("asr_public/predict.ark")(predictions, hop)
    with_model = [replace(answer, prediction=text) for answer in predictions if (text := answer.also.get("lm")) is not None]
    if not with_model:
        return Upload(greedy.files, ("asr: no asr_lm_public, because this result was made without a language model.",))
    return Upload({**greedy.files, **lines("asr_lm_public/predict.ark")(with_model, hop).files})


def synth(root: Path, seed: int) -> None:
    """Writes the miniature LibriSpeech, which PR and ASR share."""
    write_miniature(root, seed)


TASK = Task(
    card=CARD,
    read=read,
    prepare=prepare,
    head=head,
    select=Selection("wer", False, one_per_item),
    score=score,
    synth=synth,
    upload=upload,
    few_shot=FEW_SHOT,
    predicts=str,
)
