"""A probe: the layer mix and a head. And the examples that it learns from, read from the store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from superbench.contract import Item
from superbench.features.extraction import Extraction


class Probe(nn.Module):
    """softmax(weights)-weighted sum over the layers, then the head (protocol.md 1.2).

    `weights` start at zero (the plain mean of the layers) and learn with the head at its learning rate; a single layer has
    none. Takes features (batch, ..., layer, dim).
    """

    def __init__(self, head: nn.Module, layers: int) -> None:
        super().__init__()
        self.head = head
        self.weights = nn.Parameter(torch.zeros(layers)) if layers > 1 else None

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Outputs of the head for features (batch, layer, dim) or (batch, time, layer, dim)."""
        if self.weights is None:
            return self.head(features[..., 0, :], lengths)
        mixed = torch.einsum("...ld,l->...d", features, self.weights.softmax(0))
        return self.head(mixed, lengths)

    def layer_weights(self) -> list[float]:
        """The mix that was learnt, one weight per layer, summing to 1."""
        return [1.0] if self.weights is None else self.weights.detach().softmax(0).tolist()


class FrameExamples:
    """Items whose head reads frames; batches come straight from the memory-mapped store."""

    def __init__(self, items: Sequence[Item], extraction: Extraction, device: str) -> None:
        self.items, self.extraction, self.device = items, extraction, device

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor]:
        """Features (batch, time, layer, dim) float32, zero-padded, and lengths (batch)."""
        frames = [self.extraction[self.items[i].audio] for i in indices]
        lengths = torch.tensor([len(one) for one in frames])
        padded = torch.nn.utils.rnn.pad_sequence(frames, batch_first=True)
        return padded.to(self.device).float(), lengths.to(self.device)


class MeanExamples:
    """Items whose head reads means: one (item, layer, dim) tensor."""

    def __init__(self, means: Tensor, device: str) -> None:
        self.means = means.to(device)

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor]:
        """Features (batch, layer, dim) and lengths of one."""
        index = torch.as_tensor(indices, device=self.means.device)
        return self.means[index], torch.ones_like(index)


Examples = FrameExamples | MeanExamples
