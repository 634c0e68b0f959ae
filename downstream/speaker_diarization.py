"""SD, speaker diarization: which of two speakers talks when, also at the same time?

Corpus: Libri2Mix (two speakers and noise, 16 kHz, `max` mode), 13 900 / 3 000 / 3 000 mixtures. Paper: Cosentino et al. (2020),
arXiv 2005.11262; diarization by permutation-invariant training after Fujita et al. (2019), arXiv 1909.05952. Licence: CC BY 4.0
(LibriSpeech), with noise from WHAM! under CC BY-NC 4.0. Test speakers are not in the training set.
Rules (protocol of SUPERB): pieces of 2 000 frames; weights by frame accuracy on dev; then the lowest DER of ten settings
(threshold × median filter) *on test*, optimistic, and kept so that numbers compare. A turn that spans a complete piece is
labelled; the reference implementation loses it, and so does the variant `reference-chunk-labels`, which also rounds the length
of a recording as the reference does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from downstream.shared.diarization import Piece, Turn, compare, frames_of, median_filter, one_speaker_error, rounded, turns_of
from downstream.shared.few_shot_diarization import FEW_SHOT
from downstream.shared.libri2mix import LAYOUT, OBTAIN, Mixture, mixtures, write_miniature
from downstream.shared.lists import must_be_there
from downstream.shared.upload import hdf5
from superbench import (
    SAMPLE_RATE,
    Audio,
    Corpora,
    Fold,
    Item,
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
    Upload,
    audio_header,
    ratio,
)

CHUNK_LABELS = "reference-chunk-labels"

OFFICIAL = Recipe(
    steps=30_000,
    batch=8,
    accumulate=4,
    evaluate_every=500,
    learning_rates=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
    evaluate_batch=1,
    options={"width": 512},
)

CARD = TaskCard(
    name="sd",
    title="Speaker diarization",
    version=2,
    domain="speaker",
    corpus="Libri2Mix (max, mix_both)",
    licence="CC BY 4.0; noise CC BY-NC 4.0",
    paper="https://arxiv.org/abs/2005.11262",
    obtain=OBTAIN,
    layout=LAYOUT,
    primary="der",
    reads="frames",
    recipes={
        "superb": OFFICIAL,
        "superb-once": OFFICIAL,
        "mini": Recipe(
            steps=90, batch=16, evaluate_every=15, learning_rates=(8e-3,), evaluate_batch=32, options={"width": 128}
        ),
    },
    reference_points={"der": (10.05, 5.62)},
    published={"der": "sd_der"},
    differences={"mini": "LSTM of 128 in place of 512 units, 90 updates, one learning rate"},
    miniature="160 / 30 / 120 synthetic mixtures of 6-8 s",
    sound="Libri2Mix max",
    sizes={"train": Size(13_900, 56.4), "dev": Size(3_000, 7.6), "test": Size(3_000, 7.0)},
    counts={"train": 13_900, "dev": 3_000, "test": 3_000},
    sample_rate=SAMPLE_RATE,
    variants={
        CHUNK_LABELS: "a turn that spans a complete piece is labelled silent, and seconds are turned into frames in floating "
        "point (8.04 s are 401 frames of 20 ms), as in s3prl"
    },
)

PIECE = 2_000
"""Number of frames of a piece."""

HUNDREDTH = SAMPLE_RATE // 100
SETTINGS = tuple({"threshold": t, "median": m} for t in (0.3, 0.4, 0.5, 0.6, 0.7) for m in (1, 11))


# ---------------------------------------------------------------- corpus


def read(corpora: Corpora) -> tuple[Fold, ...]:
    """Reads the one fold; an item is a mixture, its label a `Mixture`, its group the two speakers.

    A remark states the DER of an answer that detects speech but takes all of it for one speaker; a useful head is below it.
    """

    def split(name: Literal["train", "dev", "test"]) -> Split:
        listed = mixtures(corpora, name)
        return Split(name, tuple(Item(mix.id, Audio(mix.path), mix, tuple(sorted(mix.speakers))) for mix in listed))

    train, dev, test = split("train"), split("dev"), split("test")
    paths = (item.label.path for part in (train, dev, test) for item in part.items)
    must_be_there(paths, "Libri2Mix", "Run LibriMix's generation script again.")
    floor = one_speaker_error(rounded(item.label.turns) for item in test.items)
    remark = f"one speaker for all speech, with perfect activity, has a DER of {floor:.2f} % on test"
    return (Fold("all", train, dev, test, remarks=(remark,)),)


def prepare(split: Split, hop: int, recipe: Recipe) -> Split:
    """Cuts recordings into pieces of 2 000 frames with frame labels; the last piece of a recording may be shorter."""
    quirks = CHUNK_LABELS in recipe.variants
    return replace(split, items=tuple(piece for item in split.items for piece in _pieces(item, hop, quirks)))


def _pieces(item: Item, hop: int, quirks: bool) -> Iterator[Item]:
    """Yields the pieces of a recording; with `quirks`, its length in frames and its labels are those of s3prl."""
    mix: Mixture = item.label
    speakers = sorted({speaker for *_, speaker in mix.turns})
    speakers += ["nobody"] * (2 - len(speakers))
    samples = _samples(mix.path)
    frames = int(samples / SAMPLE_RATE * SAMPLE_RATE / hop) if quirks else samples // hop
    for number, start in enumerate(range(0, frames, PIECE)):
        end = min(start + PIECE, frames)
        active = frames_of(mix.turns, speakers, hop, start, end, spanning=not quirks)
        label = Piece(mix.id, active, hop, mix.turns)
        yield Item(f"{mix.id}/{number}", replace(item.audio, start=start * hop, end=end * hop), label, item.group)


def _samples(path: Path) -> int:
    """Returns the length in samples at 16 kHz, from the header."""
    samples, rate = audio_header(path)
    return round(samples * SAMPLE_RATE / rate)


# ---------------------------------------------------------------- head


class Diarizer(nn.Module):
    """LSTM(dim, width), one layer, forward in time → Linear(width, 2): a logit for each speaker and frame."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(dim, width, batch_first=True)
        self.output = nn.Linear(width, 2)

    def encode(self, label: Piece) -> Tensor:
        """Returns the activity (frames, 2)."""
        return torch.from_numpy(label.active)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Returns logits (batch, time, 2). Padding follows the sound, so it does not affect a forward LSTM."""
        return self.output(self.recurrent(features)[0])

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """Computes cross-entropy under the better assignment of outputs to speakers: Σ of the minima over pieces / Σ frames.

        Mean over speakers, sum over the frames of the label; if there are fewer features, the last output is repeated.
        """
        truth = pad_sequence(list(targets), batch_first=True).to(outputs)  # (batch, frames, 2)
        counts = torch.tensor([len(target) for target in targets], device=outputs.device)
        frames = torch.arange(truth.shape[1], device=outputs.device)
        index = torch.minimum(frames, lengths[:, None] - 1)[:, :, None].expand(-1, -1, 2)
        logits, valid = outputs.gather(1, index), frames < counts[:, None]
        costs = [
            (F.binary_cross_entropy_with_logits(logits, order, reduction="none").mean(2) * valid).sum(1)
            for order in (truth, truth.flip(2))
        ]
        return torch.minimum(*costs).sum() / counts.sum()

    def decode(self, outputs: Tensor, lengths: Tensor) -> list[np.ndarray]:
        """Returns posteriors (frames, 2), float32."""
        posteriors = torch.sigmoid(outputs.float()).cpu().numpy()
        return [posteriors[i, :length] for i, length in enumerate(lengths.tolist())]


def head(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Builds the LSTM; `width` is an option of the recipe."""
    return Diarizer(dim, recipe.options["width"])


# ---------------------------------------------------------------- choices and scores


def frame_accuracy(split: Split, outputs: Outputs) -> float:
    """Computes the mean over pieces of the share of correct decisions at 0.5, under the assignment of least loss, in percent.

    A piece without speech counts 0, as in the source.
    """
    return 100.0 * float(np.mean([_frame_accuracy(item.label.active, _matched(item, outputs)) for item in split.items]))


def _frame_accuracy(active: np.ndarray, posteriors: np.ndarray) -> float:
    if not active.any():
        return 0.0
    sure = np.clip(posteriors, 1e-7, 1 - 1e-7)
    orders = (active, active[:, ::-1])
    losses = [-np.where(order, np.log(sure), np.log(1 - sure)).mean() for order in orders]
    return float(((posteriors > 0.5) == orders[int(np.argmin(losses))]).mean())


def _matched(item: Item, outputs: Outputs) -> np.ndarray:
    """Returns the posteriors of a piece on the frames of its label: cut, or with the last one repeated."""
    posteriors, frames = outputs[item.id], len(item.label.active)
    return posteriors[np.minimum(np.arange(frames), len(posteriors) - 1)]


def candidates(fold: str, split: Split, outputs: Outputs, only: Setting | None) -> Iterable[tuple[Setting, list[Prediction]]]:
    """Yields, for each threshold and median filter, the turns of every recording, with its pieces joined."""
    recordings: dict[str, list[Item]] = {}
    for item in split.items:
        recordings.setdefault(item.label.recording, []).append(item)
    joined = {name: np.concatenate([_matched(item, outputs) for item in items]) for name, items in recordings.items()}
    for setting in SETTINGS if only is None else (only,):
        yield setting, [_prediction(fold, name, items[0], joined[name], setting) for name, items in recordings.items()]


def _prediction(fold: str, name: str, item: Item, posteriors: np.ndarray, setting: Setting) -> Prediction:
    active = median_filter(posteriors > setting["threshold"], setting["median"])
    return Prediction(
        id=name, fold=fold, group=item.group, reference=rounded(item.label.turns), prediction=turns_of(active, item.label.hop)
    )


def score(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> dict[str, Score]:
    """Computes the DER in percent: missed, falsely detected and confused seconds / spoken seconds, over all recordings."""
    errors = [compare(prediction.reference, prediction.prediction) for prediction in predictions]
    totals, speech = [error.total for error in errors], [error.speech for error in errors]
    counts = {
        f"{name}_seconds": float(np.sum([getattr(error, name) for error in errors]))
        for name in ("miss", "false_alarm", "confusion", "speech")
    }
    return {"der": ratio(totals, speech, higher_is_better=False, counts=counts)}


def upload(predictions: Sequence[Prediction], hop: int) -> Upload:
    """Returns `T_hat` of each recording: the decisions of the chosen setting, because results contain no posteriors.

    Raises `MissingExtra` without h5py.
    """
    files = {
        f"sd_public/scoring/predictions/{answer.id}.h5": hdf5("T_hat", _decided(answer.prediction, hop))
        for answer in predictions
    }
    remarks = [
        "sd: T_hat contains the decisions (1 or 0) of the setting that this result chose; results contain no posteriors. "
        "With median 1 the official scorer finds this result's DER under any threshold; it also tries a median filter of 11 on "
        "top, and takes the lower DER."
    ]
    if hop % HUNDREDTH:
        remarks.append(
            "sd: turns are stored in hundredths of a second, which are no multiple of a frame here: edges may move by a frame."
        )
    return Upload({**files, "sd_public/frame_shift": f"{hop}\n".encode()}, tuple(remarks))


def _decided(turns: Sequence[Turn], hop: int) -> np.ndarray:
    """Returns decisions (frames, 2) up to the end of the last turn."""
    last = max((round(end * SAMPLE_RATE / hop) for _, end, _ in turns), default=1)
    return frames_of(turns, ("0", "1"), hop, 0, max(last, 1)).astype(np.float32)


def synth(root: Path, seed: int) -> None:
    """Writes the miniature Libri2Mix."""
    write_miniature(root, seed)


TASK = Task(
    card=CARD,
    read=read,
    prepare=prepare,
    head=head,
    select=Selection("frame_accuracy", True, candidates, on="test", dev=frame_accuracy),
    score=score,
    synth=synth,
    upload=upload,
    few_shot=FEW_SHOT,
    predicts=list[Turn],
)
