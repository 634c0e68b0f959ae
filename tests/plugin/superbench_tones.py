"""Tones: a spectrum as upstream; naming a tone (on means) and a series of tones (on frames) as tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from superbench import (
    Audio,
    Corpora,
    Features,
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
    accuracy,
    one_per_item,  # fmt: skip
)

PITCHES = {"low": 300.0, "middle": 700.0, "high": 1500.0, "top": 3000.0}
SAMPLES = 4000


class Spectrum(nn.Module):
    """Magnitudes of a 32-point spectrum every 20 ms, and their logarithms: two layers."""

    sample_rate, hop, layers, dim = 16_000, 320, 2, 17

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """(batch, samples) -> (2, batch, time, 17)."""
        count = (lengths // self.hop).clamp(min=1)
        padded = nn.functional.pad(waves, (0, int(count.max()) * self.hop + 320))
        pieces = padded.unfold(1, 320, self.hop)[:, : int(count.max())]
        power = torch.fft.rfft(pieces.unflatten(-1, (10, 32))).abs().mean(-2)
        keep = (torch.arange(power.shape[1])[None] < count[:, None])[..., None]
        return Features(torch.stack([power, power.add(1e-3).log()]) * keep, count)


class NameOne(nn.Module):
    """Linear on the mean."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out = nn.Linear(dim, len(PITCHES))

    def encode(self, label: str) -> Tensor:
        """Index of the pitch."""
        return torch.tensor(list(PITCHES).index(label))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Logits."""
        return self.out(features)

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(outputs, targets)

    def decode(self, outputs: Tensor, lengths: Tensor) -> list[str]:
        """Names."""
        return [list(PITCHES)[i] for i in outputs.argmax(-1).tolist()]


class NameMany(nn.Module):
    """A small recurrent CTC head with dropout, on frames."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.rnn, self.out, self.dropout = nn.GRU(dim, 24, batch_first=True), nn.Linear(24, len(PITCHES) + 1), nn.Dropout(0.1)

    def encode(self, label: str) -> Tensor:
        """Indices of the pitches, from 1."""
        return torch.tensor([list(PITCHES).index(word) + 1 for word in label.split()])

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Log-probabilities (batch, time, 5)."""
        return self.out(self.dropout(self.rnn(features)[0])).log_softmax(-1)

    def loss(self, outputs: Tensor, lengths: Tensor, targets: list[Tensor]) -> Tensor:
        """CTC."""
        sizes = torch.tensor([len(target) for target in targets])
        return nn.functional.ctc_loss(outputs.transpose(0, 1), torch.cat(list(targets)), lengths, sizes, zero_infinity=True)

    def decode(self, outputs: Tensor, lengths: Tensor) -> list[str]:
        """Best path, with repeats merged."""
        best = [torch.unique_consecutive(row[:n]).tolist() for row, n in zip(outputs.argmax(-1), lengths, strict=True)]
        return [" ".join(list(PITCHES)[i - 1] for i in row if i) for row in best]


def read(corpora: Corpora, series: bool) -> tuple[Fold, ...]:
    """`Tones/<split>/<singer>-<pitches>-<n>.wav`."""
    root = corpora.place("Tones")

    def split(name: str) -> Split:
        items = []
        for path in sorted((root / name).glob("*.wav")):
            singer, pitches, _ = path.stem.split("-")
            label = pitches.replace("_", " ")
            if series or " " not in label:
                items.append(Item(f"{name}/{path.stem}", Audio(path), label, (singer,)))
        return Split(name, tuple(items))  # type: ignore[arg-type]

    return (Fold("all", split("train"), split("dev"), split("test")),)


def synth(root: Path, seed: int) -> None:
    """Sines with noise, one to three in a row."""
    random = np.random.default_rng(seed)
    for split, count in {"train": 60, "dev": 20, "test": 40}.items():
        folder = root / "Tones" / split
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            names = list(random.choice(list(PITCHES), 1 if number % 2 else int(random.integers(2, 4))))
            sines = [np.sin(2 * np.pi * PITCHES[name] * np.arange(SAMPLES + 37 * number) / 16_000) for name in names]
            wave = 0.1 * np.concatenate(sines)
            wave = wave + 0.1 * random.standard_normal(len(wave))
            soundfile.write(folder / f"s{number % 25:02}-{'_'.join(names)}-{number}.wav", wave.astype("float32"), 16_000)


def share(predictions: list[Prediction], facts: dict[str, float]) -> dict[str, Score]:
    """Accuracy."""
    return {"accuracy": accuracy(predictions)}


SIZES = {
    "mean": {"train": Size(30, 0.00266), "dev": Size(10, 0.00076), "test": Size(20, 0.00165)},
    "frames": {"train": Size(60, 0.00929), "dev": Size(20, 0.00255), "test": Size(40, 0.00589)},
}
"""Of the corpus that seed 0 writes."""


def card(name: str, reads: str, rates: tuple[float, ...]) -> TaskCard:
    """The task card."""
    recipe = Recipe(steps=40, batch=8, evaluate_every=10, learning_rates=rates)
    return TaskCard(
        name=name, title="Tones", version=1, domain="content", corpus="Tones", licence="none", paper="none",
        obtain="superbench data synth", layout="Tones/<split>/*.wav", primary="accuracy", reads=reads,  # type: ignore[arg-type]
        recipes={"superb": recipe, "superb-once": recipe, "mini": recipe}, reference_points={}, published={}, differences={},
        sound="Tones", sizes=SIZES[reads],
    )  # fmt: skip


def _task(name: str, reads: str, rates: tuple[float, ...], head: type) -> Task:
    return Task(
        card=card(name, reads, rates),
        read=lambda corpora: read(corpora, reads == "frames"),
        prepare=lambda split, hop, recipe: split,
        head=lambda dim, fold, recipe: head(dim),
        select=Selection("accuracy", True, one_per_item),
        score=share,  # type: ignore[arg-type]
        synth=synth,
    )


TONE = _task("tone", "mean", (1e-1, 1e-2, 1e-3), NameOne)
TONES = _task("tones", "frames", (1e-2, 3e-3), NameMany)
