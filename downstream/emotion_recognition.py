"""ER, emotion recognition: is the speaker neutral, happy, angry or sad?

Corpus: IEMOCAP, improvised and scripted: 5 531 utterances of ten actors in five sessions; `exc` counts as `hap`, labels other
than these are dropped. Paper: Busso et al. (2008), doi 10.1007/s10579-008-9076-6. Licence: on signed agreement with SAIL, USC.
Rules (protocol of SUPERB): five folds, each tests on one session; a fifth of the rest is dev. The official dev sets were drawn
at random from s3prl's lists; shared/iemocap_dev.csv contains them. If the corpus lacks an utterance of them (a miniature, a
part), dev is drawn again with seed 0, in the order of sessions, label files by name, lines. ER is the mean of the five
accuracies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from downstream.shared.acted_emotions import write_miniature
from downstream.shared.lists import lines_of, must_be_there, only_once, rows_of
from downstream.shared.pooled import PooledLinear
from downstream.shared.upload import lines
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
    one_per_item,
)

CLASSES = ("neu", "hap", "ang", "sad")
MERGED = {name: name for name in CLASSES} | {"exc": "hap"}
LABELS = frozenset({*MERGED, "fru", "sur", "fea", "dis", "oth", "xxx"})
AGAIN = "Unpack the release again."
SESSIONS = ("Session1", "Session2", "Session3", "Session4", "Session5")
TRAIN_SHARE = 0.8
DEV_LIST = Path(__file__).parent / "shared" / "iemocap_dev.csv"
"""The official dev sets: fold, utterance; `random_split` with seed 0 over s3prl's lists (`downstream/emotion/meta_data`)."""

OFFICIAL = Recipe(
    steps=30_000, batch=4, accumulate=8, evaluate_every=1_000, learning_rates=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5), evaluate_batch=4
)

OBTAIN = """\
Free of charge for research, on a signed agreement: fill in the release form on https://sail.usc.edu/iemocap/ (SAIL,
University of Southern California), which answers with a link to IEMOCAP_full_release.tar.gz (about 12 GB); unpacked under the
data root it makes IEMOCAP_full_release/Session1 … Session5. The videos are not read.
"""
TESTED = ((384, 278, 229, 194), (362, 327, 137, 197), (320, 286, 240, 305), (258, 303, 327, 143), (384, 442, 170, 245))
"""Utterances of each of `CLASSES` in each session; 4.55 s long on average (approximately: about 7 h in all)."""


def _counts() -> dict[str, int]:
    """Returns the counts of each fold: it tests on a session and trains on four fifths of the others, rounded down."""
    counts: dict[str, int] = {}
    everything = sum(map(sum, TESTED))
    for number, classes in enumerate(TESTED, 1):
        rest = everything - sum(classes)
        fold = {"train": rest * 4 // 5, "dev": rest - rest * 4 // 5, "test": sum(classes)}
        fold |= {f"test/{name}": count for name, count in zip(CLASSES, classes, strict=True)}
        counts |= {f"fold{number}/{key}": count for key, count in fold.items()}
    return counts


def _sizes() -> dict[str, Size]:
    """Returns the sizes of the splits of each fold; the splits of a fold contain every utterance once."""
    counts = {key: count for key, count in _counts().items() if key.count("/") == 1}
    return {key: Size(n, round(n * 4.55 / 3600, 2)) for key, n in ({"all": sum(map(sum, TESTED))} | counts).items()}


CARD = TaskCard(
    name="er",
    title="Emotion recognition",
    version=2,
    domain="emotion",
    corpus="IEMOCAP",
    licence="free of charge on signed agreement (SAIL, University of Southern California)",
    paper="https://doi.org/10.1007/s10579-008-9076-6",
    obtain=OBTAIN,
    layout="""\
IEMOCAP/Session{1..5}/sentences/wav/<dialog>/<utterance>.wav      (or IEMOCAP_full_release/...)
IEMOCAP/Session{1..5}/dialog/EmoEvaluation/<dialog>.txt           "[6.29 - 8.23]<tab>Ses01F_impro01_F000<tab>neu<tab>[...]"
""",
    primary="accuracy",
    reads="mean",
    recipes={
        "superb": OFFICIAL,
        "superb-once": OFFICIAL,
        "mini": Recipe(steps=300, batch=32, evaluate_every=50, learning_rates=(1e-2, 1e-3, 1e-4)),
    },
    reference_points={"accuracy": (48.23672168, 67.62)},
    published={"accuracy": "er_acc"},
    differences={
        "superb-once": "nothing: the official recipe reads complete utterances",
        "mini": "300 updates of 32 per fold, three learning rates; dev is drawn",
    },
    miniature="960 synthetic utterances of 2 s by 10 American voices; emotions are speed and range of pitch",
    sound="IEMOCAP",
    sizes=_sizes(),
    counts=_counts(),
    sample_rate=SAMPLE_RATE,
    withheld="the release is given only to the person who signed the agreement",
    question="Which emotion does the voice express?",
    words={"neu": "neutral", "hap": "happy", "ang": "angry", "sad": "sad"},
)


def read(corpora: Corpora) -> tuple[Fold, ...]:
    """Reads five folds; `fold1` tests on Session1. Ids are those of the corpus, groups are actors.

    If the official dev sets could not be used, a remark states why. Raises `MissingCorpus`, `BadCorpus`.
    """
    root = corpora.place("IEMOCAP", "IEMOCAP_full_release")
    if (root / "IEMOCAP_full_release").is_dir():
        root = root / "IEMOCAP_full_release"
    labelled = {name: list(_session(root / name)) for name in SESSIONS}
    everything = [pair for items in labelled.values() for pair in items]
    only_once(((item.id, location) for item, location in everything), str(root), "labelled utterances", AGAIN)
    must_be_there((item.audio.path for item, _ in everything), "IEMOCAP's label files", AGAIN)
    sessions = {name: [item for item, _ in items] for name, items in labelled.items()}
    dev = official_dev()
    official = frozenset().union(*dev.values())
    lacking = sorted(official - {item.id for item, _ in everything})
    if not lacking:
        return tuple(_fold(name, sessions, dev) for name in dev)
    few = f"{len(lacking):,} of the {len(official):,} utterances of the official ones are not there, such as {lacking[0]}"
    remarks = () if corpora.synthetic else (f"the dev sets are drawn again: {few}",)
    return tuple(replace(_fold(name, sessions, {}), remarks=remarks) for name in dev)


def official_dev() -> dict[str, frozenset[str]]:
    """Returns the utterances of the official dev set of each fold: 890, 902, 876, 900, 858."""
    dev_sets: dict[str, set[str]] = {f"fold{number}": set() for number in range(1, len(SESSIONS) + 1)}
    for _, row in rows_of(DEV_LIST, ("fold", "utterance"), "Install superbench again."):
        dev_sets[row["fold"]].add(row["utterance"])
    return {fold: frozenset(utterances) for fold, utterances in dev_sets.items()}


def _session(folder: Path) -> Iterator[tuple[Item, str]]:
    """Yields a session's utterances with one of the labels, in the order of label files and lines, and their locations."""
    labels = folder / "dialog" / "EmoEvaluation"
    files = sorted(path for path in labels.glob("*.txt") if not path.name.startswith("._"))
    if not files:
        raise BadCorpus(f"{labels} does not exist or contains no label file (.txt). Unpack IEMOCAP's {folder.name} again.")
    for file in files:
        for number, line in lines_of(file, AGAIN):
            if not line.startswith("["):
                continue
            _, utterance, label, *_ = (*line.split("\t"), "", "", "")
            if not utterance or label not in LABELS:
                raise BadCorpus(
                    f'{file}, line {number}: expected "[start - end]<tab>utterance<tab>label<tab>..." with one of the labels '
                    f"{' '.join(sorted(LABELS))}, found {line!r}. {AGAIN}"
                )
            if label in MERGED:
                path = folder / "sentences" / "wav" / file.stem / f"{utterance}.wav"
                yield Item(utterance, Audio(path), MERGED[label], (actor(utterance),)), f"{file.name} line {number}"


def actor(utterance: str) -> str:
    """Returns the actor: the session, and the sex at the start of the turn's number (the dialog's letter: who wore sensors).

    >>> actor("Ses01F_impro01_M003")
    'Ses01M'
    """
    return utterance[:5] + utterance.rsplit("_", 1)[-1][:1]


def _fold(name: str, sessions: Mapping[str, Sequence[Item]], dev: Mapping[str, frozenset[str]]) -> Fold:
    """Returns the fold that tests on the session of its number. If `dev` lacks the fold, its dev set is drawn."""
    tested = name.replace("fold", "Session")
    rest = [item for session, items in sessions.items() if session != tested for item in items]
    chosen = dev.get(name) or drawn(rest)
    train, held = (tuple(item for item in rest if (item.id in chosen) == side) for side in (False, True))
    return Fold(name, Split("train", train), Split("dev", held), Split("test", tuple(sessions[tested])))


def drawn(items: Sequence[Item]) -> frozenset[str]:
    """Draws a fifth of `items`, as `torch.manual_seed(0)` and `random_split` do; returns their ids."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(0)).tolist()
    return frozenset(items[index].id for index in order[int(TRAIN_SHARE * len(items)) :])


def prepare(split: Split, hop: int, recipe: Recipe) -> Split:
    """Returns the split: nothing depends on the frame rate."""
    return split


def head(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Linear(dim, 256) → mean → Linear(256, 4)."""
    return PooledLinear(dim, CLASSES)


def score(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> dict[str, Score]:
    """Computes the mean over the folds of the accuracy in each, in percent.

    >>> right = [Prediction(name, "fold1", (), "sad", "sad") for name in ("a", "b", "c")]
    >>> score([*right, Prediction("d", "fold2", (), "sad", "neu")], {})["accuracy"].value
    50.0
    """
    correct = np.array([float(answer.prediction == answer.reference) for answer in predictions])
    names = sorted({answer.fold for answer in predictions})
    folds = [np.array([answer.fold == name for answer in predictions]) for name in names]

    def reweighted(weights: np.ndarray) -> float:
        shares = [float(weights[fold] @ correct[fold]) / total for fold in folds if (total := float(weights[fold].sum()))]
        return 100.0 * sum(shares) / len(shares) if shares else float("nan")

    counts = {"correct": float(correct.sum()), "items": float(len(correct))}
    return {
        "accuracy": Score(
            value=reweighted(np.ones(len(correct))), unit="%", higher_is_better=True, counts=counts, reweighted=reweighted
        )
    }


def synth(root: Path, seed: int) -> None:
    """Writes the miniature `IEMOCAP/`."""
    write_miniature(root / "IEMOCAP", seed)


TASK = Task(
    card=CARD,
    read=read,
    prepare=prepare,
    head=head,
    select=Selection("accuracy", True, one_per_item),
    score=score,
    synth=synth,
    upload=lines("er_{fold}_public/predict.txt"),
    predicts=str,
)
