"""ASV, automatic speaker verification: are two utterances by the same speaker? No test speaker is in the training set.

Corpus: VoxCeleb1: trained on all utterances of 1 211 speakers, tested on the 37 720 original trials (`voxceleb1_test_v2.txt`)
of the other forty, id10270 … id10309. Paper: Nagrani, Chung, Zisserman (2017), arXiv 1706.08612. Licence: CC BY 4.0.
Rules (protocol of SUPERB): x-vector (Snyder et al. 2018) with AM-softmax (Wang et al. 2018), scores = cosine of embeddings, no
dev set. The official number is the lowest EER of ten checkpoints *on the test trials*: optimistic, and kept so that numbers
compare. Sound is amplified by -3 dB and silence is removed; after that, training utterances of up to 2 s are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from downstream.shared.few_shot_verification import FEW_SHOT
from downstream.shared.upload import dashed
from downstream.shared.verification import equal_error_rate, minimum_cost
from downstream.shared.voxceleb import (
    LAYOUT,
    OBTAIN,
    OBTAIN_TRIALS,
    TEST_SPEAKERS,
    UNPACK,
    VoxCeleb,
    speaker_of,
    write_miniature,
)
from superbench import (
    SAMPLE_RATE,
    Audio,
    BadCorpus,
    Corpora,
    Fold,
    FreshCrops,
    Item,
    MissingFiles,
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
    Trial,
    Upload,
    load_audio,
)

OFFICIAL = Recipe(
    steps=200_000,
    batch=10,
    accumulate=5,
    evaluate_every=20_000,
    learning_rates=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
    optimizer="adamw",
    clip=1_000.0,
    evaluate_batch=1,
    fresh_crops=True,
    options={"width": 512, "pooled": 1_500, "embedding": 512, "min_seconds": 2.0, "crop": "random", "crop_seconds": 8.0},
)
WHOLE = {name: value for name, value in OFFICIAL.options.items() if not name.startswith("crop")}

CARD = TaskCard(
    name="asv",
    title="Automatic speaker verification",
    version=1,
    domain="speaker",
    corpus="VoxCeleb1, original verification trials",
    licence="CC BY 4.0",
    paper="https://arxiv.org/abs/1706.08612",
    obtain=OBTAIN + OBTAIN_TRIALS,
    layout=LAYOUT,
    primary="eer",
    reads="frames",
    recipes={
        "superb": OFFICIAL,
        "superb-once": replace(OFFICIAL, fresh_crops=False, options=WHOLE),
        "mini": Recipe(
            steps=300,
            batch=32,
            evaluate_every=30,
            learning_rates=(1e-3,),
            optimizer="adamw",
            clip=1_000.0,
            options={"width": 64, "pooled": 192, "embedding": 128, "min_seconds": 0.0},
        ),
    },
    reference_points={"eer": (9.56, 5.11)},
    published={"eer": "asv_eer"},
    differences={
        "superb-once": "trains on complete utterances in place of a new random 8 s crop in every epoch",
        "mini": "300 updates, one rate, TDNN 64 / 192 / 128 wide in place of 512 / 1 500 / 512, short utterances are used",
    },
    miniature="60 + 40 synthetic speakers, 840 utterances of 2-3 s, 2 240 trials",
    sound="VoxCeleb1 trimmed",
    # before trimming; assumed as for SID, not documented: 35 % are longer than 8 s, the others 5.2 s on average
    sizes={
        "train": Size(148_642, 340.0, FreshCrops(utterances=52_025, hours=201.0, share=0.35, seconds=8.0)),
        "test": Size(4_715, 11.0),
    },
    counts={
        "train": 148_642,
        "train groups": 1_211,
        "test": 4_715,
        "test trials": 37_720,
        "test trials/1": 18_860,
        "test trials/0": 18_860,
    },
    sample_rate=SAMPLE_RATE,
)


# ---------------------------------------------------------------- corpus


def read(corpora: Corpora) -> tuple[Fold, ...]:
    """Reads the one fold: every utterance of the training speakers, no dev, and the utterances and trials of the trial list.

    Raises `MissingCorpus`, and `BadCorpus` if an utterance is missing that the trials or the identification list (if it
    exists) name.
    """
    corpus = VoxCeleb.under(corpora)
    train = Split("train", tuple(_item(corpus, name) for name in _training_utterances(corpus)))
    lines = corpus.trials()
    tested = dict.fromkeys(name for _, left, right in lines for name in (left, right))
    corpus.must_hold(tested, "the trials of VoxCeleb1")
    trials = tuple(
        Trial(left, right, same, tuple(sorted({speaker_of(left), speaker_of(right)}))) for same, left, right in lines
    )
    test = Split("test", tuple(_item(corpus, name) for name in tested), trials)
    return (Fold("all", train, Split("dev", ()), test, remarks=corpus.remarks),)


def _training_utterances(corpus: VoxCeleb) -> list[str]:
    present = [name for speaker in corpus.speakers if speaker not in TEST_SPEAKERS for name in corpus.utterances(speaker)]
    listed = {name for name in corpus.listed() if speaker_of(name) not in TEST_SPEAKERS}
    if missing := sorted(listed - set(present)):
        raise MissingFiles([corpus.path(name) for name in missing], len(listed), "VoxCeleb1 to train on", UNPACK)
    if not present:
        raise BadCorpus(f"{corpus.root} contains no training utterance, only test speakers. Unpack the dev archive.")
    return present


def _item(corpus: VoxCeleb, utterance: str) -> Item:
    speaker = speaker_of(utterance)
    return Item(utterance, Audio(corpus.path(utterance), gain_db=-3.0, trim=True), speaker, (speaker,))


def prepare(split: Split, hop: int, recipe: Recipe) -> Split:
    """Selects training utterances longer than `min_seconds` after trimming: complete, or cut to their first `cut_seconds`, or,
    with `crop: random`, cropped again at each access. Other splits stay complete."""
    if split.name != "train":
        return split
    items, cut = split.items, recipe.options.get("cut_seconds")
    if recipe.options["min_seconds"]:
        with ThreadPoolExecutor() as readers:
            lengths = list(readers.map(lambda item: len(load_audio(item.audio)), items))
        least = recipe.options["min_seconds"] * SAMPLE_RATE
        items = tuple(item for item, length in zip(items, lengths, strict=True) if length > least)
    if recipe.options.get("crop") == "random":
        crop = round(recipe.options["crop_seconds"] * SAMPLE_RATE)
        items = tuple(replace(item, audio=replace(item.audio, crop=crop)) for item in items)
    if cut is not None:
        items = tuple(replace(item, audio=replace(item.audio, end=round(cut * SAMPLE_RATE))) for item in items)
    return replace(split, items=items)


class XVector(nn.Module):
    """Connector, five TDNN layers, mean and standard deviation over time, embedding; in training a linear layer and AM-softmax.

    The convolutions use no padding: T frames become T - 14 (4 + 4 + 6 are lost at the edges).
    """

    layers = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))
    """(context, dilation)."""
    lost = 14
    scale, margin = 30.0, 0.4

    def __init__(self, dim: int, speakers: Sequence[str], width: int, pooled: int, embedding: int) -> None:
        super().__init__()
        self.index = {name: i for i, name in enumerate(speakers)}
        self.connector = nn.Linear(dim, width)
        widths = [width] * len(self.layers) + [pooled]
        self.tdnn = nn.ModuleList(
            nn.Conv1d(widths[i], widths[i + 1], context, dilation=dilation) for i, (context, dilation) in enumerate(self.layers)
        )
        self.embedding = nn.Linear(2 * pooled, embedding)
        self.training_layer = nn.Linear(embedding, embedding)
        self.classes = nn.Parameter(nn.init.xavier_normal_(torch.empty(embedding, len(speakers))))

    def encode(self, label: str) -> Tensor:
        """Returns the index of a training speaker."""
        return torch.tensor(self.index[label])

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Returns embeddings (batch, embedding) of features (batch, time, dim), after the ReLU: no value is negative."""
        features, lengths = _long_enough(features, lengths, self.lost + 2)
        hidden = self.connector(features).transpose(1, 2)  # (batch, width, time)
        for layer in self.tdnn:
            hidden = F.relu(layer(hidden))
        return F.relu(self.embedding(statistics(hidden, lengths - self.lost)))

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """Computes AM-softmax: cross-entropy of s · (cos θ - m for the true speaker, cos θ for the others), s = 30, m = 0.4."""
        speakers = torch.stack(list(targets))
        cosines = F.normalize(F.relu(self.training_layer(outputs))) @ F.normalize(self.classes, dim=0)
        margins = self.margin * F.one_hot(speakers, cosines.shape[1])
        return F.cross_entropy(self.scale * (cosines - margins), speakers)

    def decode(self, outputs: Tensor, lengths: Tensor) -> list[list[float]]:
        """Returns embeddings of length one."""
        return F.normalize(outputs).tolist()


def statistics(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Computes mean and unbiased standard deviation of valid frames: (batch, width, time) → (batch, 2 · width); lengths ≥ 2."""
    valid = torch.arange(hidden.shape[2], device=hidden.device) < lengths[:, None]  # (batch, time)
    count = lengths[:, None].to(hidden.dtype)
    mean = (hidden * valid[:, None]).sum(2) / count
    variance = ((hidden - mean[:, :, None]) * valid[:, None]).square().sum(2) / (count - 1)
    # a unit that ReLU set to 0 has variance 0, where the square root has no gradient
    varies = variance > 0
    return torch.cat([mean, torch.where(varies, variance, 1.0).sqrt() * varies], dim=1)


def _long_enough(features: Tensor, lengths: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Repeats utterances of fewer than `least` frames from their start: pooling after the TDNN needs two frames."""
    if int(lengths.min()) >= least:
        return features, lengths
    frames = torch.arange(max(features.shape[1], least), device=features.device)
    index = torch.where(lengths[:, None] < least, frames % lengths[:, None], frames.clamp(max=features.shape[1] - 1))
    repeated = features.gather(1, index[:, :, None].expand(-1, -1, features.shape[2]))
    return repeated, lengths.clamp(min=least)


def head(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Builds the x-vector over the sorted training speakers; `width`, `pooled` and `embedding` are options of the recipe."""
    sizes = {name: recipe.options[name] for name in ("width", "pooled", "embedding")}
    return XVector(dim, sorted({item.label for item in fold.train.items}), **sizes)


# ---------------------------------------------------------------- scores


def candidates(fold: str, split: Split, outputs: Outputs, only: Setting | None) -> Iterable[tuple[Setting, list[Prediction]]]:
    """Yields the trials with the cosine of their embeddings; only the checkpoint is chosen."""
    names = {item.id: i for i, item in enumerate(split.items)}
    embeddings = np.asarray([outputs[item.id] for item in split.items])
    left = embeddings[[names[trial.left] for trial in split.trials]]
    right = embeddings[[names[trial.right] for trial in split.trials]]
    cosines = (left * right).sum(axis=1).tolist()
    yield (
        {},
        [
            Prediction(id=trial.id, fold=fold, group=trial.group, reference=trial.reference, prediction=cosine)
            for trial, cosine in zip(split.trials, cosines, strict=True)
        ],
    )


def score(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> dict[str, Score]:
    """Computes the EER (percent) and the minimum of the normalised detection cost at a target probability of 0.01."""
    scores = np.array([prediction.prediction for prediction in predictions])
    labels = np.array([prediction.reference for prediction in predictions])
    return {"eer": equal_error_rate(scores, labels), "min_dcf": minimum_cost(scores, labels, target_probability=0.01)}


def upload(predictions: Sequence[Prediction], hop: int) -> Upload:
    """Returns a line `<utterance>_<utterance> <cosine>` for every trial."""
    rows = ("_".join(map(dashed, trial.id.split("|"))) + f" {trial.prediction}\n" for trial in predictions)
    return Upload({"sv_public/predict.txt": "".join(rows).encode()})


def synth(root: Path, seed: int) -> None:
    """Writes the miniature VoxCeleb1, which SID and ASV share."""
    write_miniature(root, seed)


TASK = Task(
    card=CARD,
    read=read,
    prepare=prepare,
    head=head,
    select=Selection("eer", False, candidates, on="test", checkpoints=True),
    score=score,
    synth=synth,
    upload=upload,
    few_shot=FEW_SHOT,
    predicts=float,
)
