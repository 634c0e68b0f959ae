"""A probe: the layer mix and a head. And the examples that it learns from, read from the store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from superbench.contract import Audio, Item
from superbench.features.extraction import BatchKey, Extraction, means

LARGEST_BYTES = 4 * 2**30
"""Means that are held in memory; more are read from the store batch by batch."""


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
        by_layer = features.movedim(-2, 0)  # (layer, batch, ..., dim)
        mixed = mixing([self], features) @ by_layer.flatten(1)
        return self.head(mixed.view(by_layer.shape[1:]), lengths)

    def layer_weights(self) -> list[float]:
        """The mix that was learnt, one weight per layer, summing to 1."""
        return [1.0] if self.weights is None else self.weights.detach().softmax(0).tolist()


def mixing(probes: Sequence[Probe], features: Tensor) -> Tensor:
    """By how much each probe takes each layer of `features`: (probe, layer)."""
    weights: list[Tensor] = [probe.weights for probe in probes if probe.weights is not None]
    return torch.stack(weights).softmax(1) if weights else features.new_ones(len(probes), 1)


class FrameExamples:
    """Items whose head reads frames; batches come straight from the memory-mapped store, or through the model."""

    one_row = False

    def __init__(self, items: Sequence[Item], extraction: Extraction, device: str) -> None:
        self.items, self.extraction, self.device = items, extraction, device

    def batch(self, indices: Sequence[int] | np.ndarray, moment: BatchKey = ()) -> tuple[Tensor, Tensor]:
        """Features (batch, time, layer, dim) float32, zero-padded, and lengths (batch).

        Good until the next batch of the same extraction is read: all are laid in one place. Fresh memory for each would cost
        more than what is put there, because the kernel hands out large pieces page by page and wiped.
        """
        frames = self.extraction.read(self._sound(indices), moment)
        lengths = torch.tensor([len(one) for one in frames])
        _, layers, dim = frames[0].shape
        padded = self.extraction.padded.resize_(layers, len(frames), int(lengths.max()), dim)  # as the mix reads them
        for i, one in enumerate(frames):
            padded[:, i, : len(one)] = one.transpose(0, 1)
            padded[:, i, len(one) :] = 0
        return padded.to(self.device).movedim(0, -2), lengths.to(self.device)

    def prefetch(self, indices: Sequence[int] | np.ndarray, moment: BatchKey) -> None:
        """The batch that will be wanted next."""
        self.extraction.prefetch(self._sound(indices), moment)

    def _sound(self, indices: Sequence[int] | np.ndarray) -> list[Audio]:
        return [self.items[i].audio for i in indices]


class MeanExamples:
    """Items whose head reads means: one (item, layer, dim) tensor, but for the `live` ones, read when their batch comes.

    Live are fresh crops, which pass through the model anew, and everything where all the means are too large for memory.
    """

    one_row = True

    def __init__(
        self, means: Tensor, device: str, live: Mapping[int, Audio] | None = None, extraction: Extraction | None = None
    ) -> None:
        self.means, self.device = means.to(device), device
        self.live, self.extraction = live or {}, extraction

    @classmethod
    def of(cls, items: Sequence[Item], extraction: Extraction, device: str) -> MeanExamples:
        """The means of `items`, those in memory that may be."""
        shape = (len(items), extraction.layers, extraction.request.upstream.dim)
        room = 4 * math.prod(shape) <= LARGEST_BYTES
        held = {i: item.audio for i, item in enumerate(items) if room and item.audio in extraction.entries}
        values = torch.zeros(shape if room else (0, *shape[1:]))
        if held:
            values[list(held)] = means(extraction, list(held.values()))
        return cls(values, device, {i: item.audio for i, item in enumerate(items) if i not in held}, extraction)

    def batch(self, indices: Sequence[int] | np.ndarray, moment: BatchKey = ()) -> tuple[Tensor, Tensor]:
        """Features (batch, layer, dim) and lengths of one."""
        index = [int(i) for i in indices]
        places = [place for place, i in enumerate(index) if i in self.live]
        values = self._held([i for i in index if i not in self.live])
        if places:
            assert self.extraction is not None
            rows = torch.cat(self.extraction.read([self.live[index[place]] for place in places], moment)).to(self.device)
            held, values = values, rows.new_empty(len(index), *rows.shape[1:])
            fixed = [place for place, i in enumerate(index) if i not in self.live]
            values[places], values[fixed] = rows, held
        return values, torch.ones(len(index), dtype=torch.long, device=self.device)

    def prefetch(self, indices: Sequence[int] | np.ndarray, moment: BatchKey) -> None:
        """The batch that will be wanted next."""
        wanted = [self.live[int(i)] for i in indices if int(i) in self.live]
        if wanted and self.extraction is not None:
            self.extraction.prefetch(wanted, moment)

    def _held(self, index: list[int]) -> Tensor:
        rows = torch.tensor(index, dtype=torch.long, device=self.device)
        return self.means.movedim(1, 0)[:, rows].movedim(0, 1)  # laid as the mix reads them


Examples = FrameExamples | MeanExamples
