"""A probe (weighted sum of the layers, and a head), and the examples that it is trained on, read from the store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from superbench.contract import Audio, Item
from superbench.features.extraction import Extraction, means
from superbench.features.live import BatchKey
from superbench.features.quantized import padded

LARGEST_BYTES = 4 * 2**30
"""Time-averaged features up to this size are held in memory; larger ones are read from the store batch by batch."""


class Probe(nn.Module):
    """Sum over the layers with weights softmax(`weights`), then the head (protocol.md 1.2).

    `weights` start at zero (the mean of the layers) and are trained together with the head, at the same learning rate. A model
    with a single layer has no weights. Input: features (batch, ..., layer, dim).
    """

    def __init__(self, head: nn.Module, layers: int) -> None:
        super().__init__()
        self.head = head
        self.weights = nn.Parameter(torch.zeros(layers)) if layers > 1 else None

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Return the outputs of the head for features (batch, layer, dim) or (batch, time, layer, dim)."""
        by_layer = features.movedim(-2, 0)  # (layer, batch, ..., dim)
        mixed = mixing([self], features) @ by_layer.flatten(1)
        return self.head(mixed.view(by_layer.shape[1:]), lengths)

    def layer_weights(self) -> list[float]:
        """Return the learned weight of each layer; the weights sum to 1."""
        return [1.0] if self.weights is None else self.weights.detach().softmax(0).tolist()


def mixing(probes: Sequence[Probe], features: Tensor) -> Tensor:
    """Return the weights of the layers of `features` for each probe: (probe, layer)."""
    weights: list[Tensor] = [probe.weights for probe in probes if probe.weights is not None]
    return torch.stack(weights).softmax(1) if weights else features.new_ones(len(probes), 1)


class FrameExamples:
    """Examples of heads that read frames. Batches are read from the memory-mapped store, or computed by the model."""

    one_row = False

    def __init__(self, items: Sequence[Item], extraction: Extraction, device: str) -> None:
        self.items, self.extraction, self.device = items, extraction, device

    def batch(self, indices: Sequence[int] | np.ndarray, moment: BatchKey = ()) -> tuple[Tensor, Tensor]:
        """Return features (batch, time, layer, dim) float32, zero-padded, and lengths (batch).

        They are valid until the next batch of the same extraction is read, because all batches use the same buffer. New memory
        for each batch would cost more time than copying the features: the kernel zeroes large allocations page by page.
        """
        frames = self.extraction.read(self._audios(indices), moment)
        lengths = torch.tensor([len(item) for item in frames])
        batch = padded(frames, self.extraction.padded, self.device)  # in the memory layout of the weighted sum
        return batch.movedim(0, -2), lengths.to(self.device)

    def prefetch(self, indices: Sequence[int] | np.ndarray, moment: BatchKey) -> None:
        """Prefetch the next batch."""
        self.extraction.prefetch(self._audios(indices), moment)

    def _audios(self, indices: Sequence[int] | np.ndarray) -> list[Audio]:
        return [self.items[i].audio for i in indices]


class MeanExamples:
    """Examples of heads that read time-averaged features: one (item, layer, dim) tensor. The `live` items are not in it; they
    are read with their batch.

    Live items are random crops, which the model processes again at each access, and all items if their means do not fit into
    memory (`LARGEST_BYTES`).
    """

    one_row = True

    def __init__(
        self, means: Tensor, device: str, live: Mapping[int, Audio] | None = None, extraction: Extraction | None = None
    ) -> None:
        self.means, self.device = means.to(device), device
        self.live, self.extraction = live or {}, extraction

    @classmethod
    def of(cls, items: Sequence[Item], extraction: Extraction, device: str) -> MeanExamples:
        """Return examples of `items`; stored features are loaded into memory if they fit."""
        shape = (len(items), extraction.layers, extraction.request.upstream.dim)
        fits = 4 * math.prod(shape) <= LARGEST_BYTES
        held = {i: item.audio for i, item in enumerate(items) if fits and item.audio in extraction.entries}
        values = torch.zeros(shape if fits else (0, *shape[1:]))
        if held:
            values[list(held)] = means(extraction, list(held.values()))
        return cls(values, device, {i: item.audio for i, item in enumerate(items) if i not in held}, extraction)

    def batch(self, indices: Sequence[int] | np.ndarray, moment: BatchKey = ()) -> tuple[Tensor, Tensor]:
        """Return features (batch, layer, dim) and lengths (batch), which are all one."""
        index = [int(i) for i in indices]
        live = [position for position, i in enumerate(index) if i in self.live]
        values = self._held([i for i in index if i not in self.live])
        if live:
            assert self.extraction is not None
            read = self.extraction.read([self.live[index[position]] for position in live], moment)
            rows = torch.cat([item.float() for item in read]).to(self.device)
            held, values = values, rows.new_empty(len(index), *rows.shape[1:])
            fixed = [position for position, i in enumerate(index) if i not in self.live]
            values[live], values[fixed] = rows, held
        return values, torch.ones(len(index), dtype=torch.long, device=self.device)

    def prefetch(self, indices: Sequence[int] | np.ndarray, moment: BatchKey) -> None:
        """Prefetch the live items of the next batch."""
        audios = [self.live[int(i)] for i in indices if int(i) in self.live]
        if audios and self.extraction is not None:
            self.extraction.prefetch(audios, moment)

    def _held(self, index: list[int]) -> Tensor:
        rows = torch.tensor(index, dtype=torch.long, device=self.device)
        return self.means.movedim(1, 0)[:, rows].movedim(0, 1)  # the memory layout of the weighted sum


Examples = FrameExamples | MeanExamples
