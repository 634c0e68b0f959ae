"""The heads of tasks on a person's own corpus: their labels are those of the training split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from downstream.shared.ctc import BlstmStack, CtcHead
from downstream.shared.pooled import WIDTH, Pooled, PooledLinear
from downstream.shared.specaug import SpecAug
from superbench import Fold, Recipe

UNKNOWN = "<unk>"


def classifier(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Builds Linear(dim, 256) → mean → Linear(256, labels)."""
    return PooledLinear(dim, sorted({item.label for item in fold.train.items}))


def tagger(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Builds the same with one logistic output for each label."""
    return Tagger(dim, sorted({tag for item in fold.train.items for tag in item.label}))


def embedder(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Builds Linear(dim, 256) on the mean feature, trained by AM-softmax over the labels of train."""
    return Embedder(dim, sorted({item.label for item in fold.train.items}))


def writer(dim: int, fold: Fold, recipe: Recipe) -> nn.Module:
    """Builds [SpecAug] → Linear(dim, width) → 2 × [BLSTM(width) → dropout 0.2] → Linear(2 · width, units), CTC."""
    options = {"units": "characters", "width": 256, "feature_width": 0, "time_width": 0, **recipe.options}
    alphabet = OwnAlphabet.of([item.label for item in fold.train.items], words=options["units"] == "words")
    masks = {"feature_width": options["feature_width"], "time_width": options["time_width"]}
    augment = SpecAug(**masks) if all(masks.values()) else Unchanged()
    return CtcHead(BlstmStack(dim, len(alphabet.symbols), augment, options["width"]), alphabet)


class Unchanged(nn.Module):
    """The place of SpecAug without masks."""

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Returns the features."""
        return features


class Tagger(Pooled):
    """A head that gives every label a probability."""

    def __init__(self, dim: int, tags: Sequence[str]) -> None:
        super().__init__(dim, len(tags))
        self.tags = tuple(tags)

    def encode(self, label: Sequence[str]) -> Tensor:
        """Returns 1 for the labels of a sound, 0 for others, float32 (tags)."""
        return torch.tensor([float(tag in label) for tag in self.tags])

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """Computes the binary cross-entropy, averaged over labels and sounds."""
        return F.binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype))

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Computes the loss of each sound, (probe, batch)."""
        every = targets.to(outputs.dtype).expand_as(outputs)
        return F.binary_cross_entropy_with_logits(outputs, every, reduction="none").mean(-1)

    def decode(self, outputs: Tensor, lengths: Tensor) -> list[dict[str, float]]:
        """Returns the probability of every label."""
        return [dict(zip(self.tags, row, strict=True)) for row in outputs.sigmoid().tolist()]


class Embedder(nn.Module):
    """An embedding of a mean feature, and a layer that tells the training labels apart by their cosine with it.

    AM-softmax (Wang et al. 2018, arXiv 1801.05599) with scale 30 and margin 0.2.
    """

    scale, margin = 30.0, 0.2

    def __init__(self, dim: int, labels: Sequence[str]) -> None:
        super().__init__()
        self.index = {label: number for number, label in enumerate(labels)}
        self.project = nn.Linear(dim, WIDTH)
        self.classes = nn.Parameter(nn.init.xavier_normal_(torch.empty(WIDTH, len(labels))))

    def encode(self, label: str) -> Tensor:
        """Returns the number of a label."""
        return torch.tensor(self.index[label])

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Returns embeddings of length one (batch, 256)."""
        return F.normalize(self.project(features), dim=-1)

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """Computes AM-softmax."""
        cosines = outputs @ F.normalize(self.classes, dim=0)
        margins = self.margin * F.one_hot(targets, cosines.shape[1])
        return F.cross_entropy(self.scale * (cosines - margins), targets)

    def decode(self, outputs: Tensor, lengths: Tensor) -> list[list[float]]:
        """Returns the embeddings."""
        return outputs.tolist()


@dataclass(frozen=True)
class OwnAlphabet:
    """The characters of the training labels, or their words; a blank and a symbol for what train does not have come first.

    >>> letters = OwnAlphabet.of(["ab b"], words=False)
    >>> letters.symbols, letters.encode("b?"), letters.text(["a", " ", " ", "b"])
    (('<blank>', '<unk>', ' ', 'a', 'b'), [4, 1], 'a b')
    """

    symbols: tuple[str, ...]
    words: bool
    silent: frozenset[str] = frozenset({"<blank>"})

    @classmethod
    def of(cls, labels: Sequence[str], *, words: bool) -> OwnAlphabet:
        """Returns the alphabet of training labels."""
        units = {unit for label in labels for unit in (label.split() if words else " ".join(label.split()))}
        return cls(("<blank>", UNKNOWN, *sorted(units)), words)

    def encode(self, label: Any) -> list[int]:
        """Returns the numbers of the units; that of `<unk>` for a unit that train does not have."""
        index = {unit: number for number, unit in enumerate(self.symbols)}
        units = str(label).split() if self.words else " ".join(str(label).split())
        return [index.get(unit, 1) for unit in units]

    def text(self, symbols: Sequence[str]) -> str:
        """Returns units as text with single spaces."""
        return " ".join((" " if self.words else "").join(symbols).split())
