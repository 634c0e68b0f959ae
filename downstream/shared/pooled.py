"""The head of KS, SID, IC and ER: Linear(dim, 256) → mean over an utterance's frames → Linear(256, classes).

SUPERB's utterance-level head (s3prl, `downstream/model.py`: `UtteranceLevel` with `MeanPooling`). It has no activation and no
dropout, so it is affine in the frames, and Linear → mean → Linear equals mean → Linear → Linear. It therefore reads only the
mean feature. Initialisation is PyTorch's default; the loss is cross-entropy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from superbench import BadCorpus

WIDTH = 256


class Pooled(nn.Module):
    """The two linear layers, for one head or for many heads at once."""

    def __init__(self, dim: int, outputs: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, WIDTH)
        self.classify = nn.Linear(WIDTH, outputs)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Returns logits (batch, outputs) of mean features (batch, dim)."""
        return self.classify(self.project(features))

    def stacked(self, weights: Mapping[str, Tensor], features: Tensor) -> Tensor:
        """Returns logits (probe, batch, outputs) of mean features (probe, batch, dim).

        The weights are the first factor in each product, so that their gradients get the memory layout of the weights.
        """
        columns = features.mT
        for layer in ("project", "classify"):
            columns = torch.baddbmm(weights[f"{layer}.bias"][:, :, None], weights[f"{layer}.weight"], columns)
        return columns.mT


class PooledLinear(Pooled):
    """A head that chooses one of `classes` for an utterance."""

    def __init__(self, dim: int, classes: Sequence[str]) -> None:
        super().__init__(dim, len(classes))
        self.classes = tuple(classes)
        self.index = {name: number for number, name in enumerate(self.classes)}

    def encode(self, label: str) -> Tensor:
        """Returns the number of a class, a scalar; raises `BadCorpus` for a name that is no class."""
        return torch.tensor(_index(label, self.index))

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """Computes the cross-entropy of logits (batch, classes) with class numbers (batch)."""
        return cross_entropy(outputs, targets)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Computes the loss of each utterance, (probe, batch)."""
        return _each(outputs, targets)

    def decode(self, outputs: Tensor, lengths: Tensor) -> list[str]:
        """Returns the name of the most likely class for each utterance."""
        return [self.classes[number] for number in outputs.argmax(-1).tolist()]


class PooledSlots(Pooled):
    """A head that chooses a value for each of several slots (IC: action, object, location).

    The logits of all slots are concatenated.
    """

    def __init__(self, dim: int, slots: Mapping[str, Sequence[str]]) -> None:
        super().__init__(dim, sum(len(values) for values in slots.values()))
        self.slots = {name: tuple(values) for name, values in slots.items()}
        self.index = {slot: {value: n for n, value in enumerate(values)} for slot, values in self.slots.items()}
        self.sizes = [len(values) for values in self.slots.values()]

    def encode(self, label: Mapping[str, str]) -> Tensor:
        """Returns the number of the value in every slot (slots); raises `BadCorpus` for a value that its slot does not have."""
        return torch.tensor([_index(label[slot], index) for slot, index in self.index.items()])

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """Computes the sum over slots of the cross-entropy of a slot's logits with its value numbers.

        `targets` (batch, slots).
        """
        slices = outputs.split(self.sizes, dim=-1)
        return torch.stack([cross_entropy(part, targets[:, n]) for n, part in enumerate(slices)]).sum()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Computes the loss of each utterance, (probe, batch)."""
        slices = outputs.split(self.sizes, dim=-1)
        return sum((_each(part, targets[:, n]) for n, part in enumerate(slices)), start=outputs.new_zeros(()))

    def decode(self, outputs: Tensor, lengths: Tensor) -> list[dict[str, str]]:
        """Returns the most likely value of every slot, for each utterance."""
        chosen = [part.argmax(-1).tolist() for part in outputs.split(self.sizes, dim=-1)]
        return [
            {slot: values[number] for (slot, values), number in zip(self.slots.items(), numbers, strict=True)}
            for numbers in zip(*chosen, strict=True)
        ]


def _each(logits: Tensor, targets: Tensor) -> Tensor:
    """Computes cross-entropies (probe, batch) of logits (probe, batch, classes) with class numbers (batch)."""
    return cross_entropy(logits.flatten(0, 1), targets.repeat(len(logits)), reduction="none").view(logits.shape[:2])


def _index(label: str, index: Mapping[str, int]) -> int:
    if label not in index:
        first = ", ".join(list(index)[:8])
        raise BadCorpus(
            f"The label {label!r} is none of this task's {len(index)} ({first}, …). Compare the corpus with its publication."
        )
    return index[label]
