"""Features of single hidden states, read from the store or from the model a few layers at a time, to bound memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from superbench.contract import Audio, Item
from superbench.features.extraction import Extraction

LARGEST_BYTES = 1_400_000_000
"""Time-averaged features are held in memory for as many layers at a time as fit into this many bytes, at least for one."""


class OneLayer:
    """Features of one hidden state; see `superbench.contract.LayerFeatures`."""

    def __init__(self, layer: int, column: int, block: Block) -> None:
        self.layer, self._column, self._block = layer, column, block
        self.hop = block.extraction.request.upstream.hop

    def means(self, items: Sequence[Item]) -> Tensor:
        """Returns the features averaged over time, (item, dim), float32."""
        return self._block.means(items)[self._column]

    def frames(self, item: Item) -> Tensor:
        """Returns the frames of one item, (time, dim), float32."""
        return self._block.extraction[item.audio][:, self.layer].float()


class Block:
    """A few hidden states; the means of these layers are read once for every sound, and held."""

    def __init__(self, extraction: Extraction, layers: Sequence[int]) -> None:
        first, last = layers[0], layers[-1]
        neighbours = list(layers) == list(range(first, last + 1))
        self.extraction, self._count = extraction, len(layers)
        self._layers = slice(first, last + 1) if neighbours else list(layers)  # a slice is read without a copy
        self._gathered: dict[int, tuple[Sequence[Item], Tensor]] = {}

    def means(self, items: Sequence[Item]) -> Tensor:
        """Returns the features averaged over time, (layer, item, dim). They are held for as long as the block is."""
        if id(items) not in self._gathered:
            self._gathered[id(items)] = items, self._gather([item.audio for item in items])
        return self._gathered[id(items)][1]

    def _gather(self, audios: Sequence[Audio]) -> Tensor:
        gathered = np.empty((self._count, len(audios), self.extraction.request.upstream.dim), np.float32)
        for position, audio in enumerate(audios):
            rows = self.extraction[audio][:, self._layers]
            gathered[:, position] = rows.float().mean(0).numpy()
        return torch.from_numpy(gathered)


def blocks(extraction: Extraction, layers: Sequence[int], items: int) -> Iterator[list[OneLayer]]:
    """Yields the hidden states `layers`, a few at a time; `items` is the number of sounds whose means will be read."""
    size = 4 * max(items, 1) * extraction.request.upstream.dim
    most = max(LARGEST_BYTES // size, 1)
    for start in range(0, len(layers), most):
        chosen = layers[start : start + most]
        block = Block(extraction, chosen)
        yield [OneLayer(layer, column, block) for column, layer in enumerate(chosen)]
