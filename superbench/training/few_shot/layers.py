"""Features of single hidden states, read from the store or from the model a few layers at a time, to bound memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from superbench.contract import Fold, Item
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
    """A few hidden states; the means of these layers are read once for every sound, and held.

    `arrays`: memory of an earlier block, by the identity of the items, which is used again (the kernel zeroes new memory).
    """

    def __init__(self, extraction: Extraction, layers: Sequence[int], arrays: dict[int, np.ndarray]) -> None:
        first, last = layers[0], layers[-1]
        neighbours = list(layers) == list(range(first, last + 1))
        self.extraction, self.layers = extraction, list(layers)
        self._read = slice(first, last + 1) if neighbours else self.layers  # a slice is read without a copy
        self._arrays = arrays
        self._gathered: dict[int, tuple[Sequence[Item], Tensor]] = {}

    def layer(self, layer: int) -> OneLayer:
        """Returns one of the hidden states."""
        return OneLayer(layer, self.layers.index(layer), self)

    def means(self, items: Sequence[Item]) -> Tensor:
        """Returns the features averaged over time, (layer, item, dim). They are held for as long as the block is."""
        if id(items) not in self._gathered:
            self._gathered[id(items)] = items, self._gather(items)
        return self._gathered[id(items)][1]

    def _gather(self, items: Sequence[Item]) -> Tensor:
        shape = (len(self.layers), len(items), self.extraction.request.upstream.dim)
        array = self._arrays.get(id(items))
        if array is None or len(array) < shape[0] or array.shape[1:] != shape[1:]:
            array = self._arrays[id(items)] = np.empty(shape, np.float32)
        gathered = array[: shape[0]]
        for places, means in self.extraction.means_in_parts([item.audio for item in items], self._read):
            gathered[:, places] = means.transpose(0, 1).numpy()  # torch takes twice as long
        return torch.from_numpy(gathered)


class Means:
    """The hidden states `layers` of all folds. If the means of all of them fit into memory, they are read once and held."""

    def __init__(self, extraction: Extraction, layers: Sequence[int], folds: Sequence[Fold]) -> None:
        self.extraction = extraction
        items = sum(len(split.items) for fold in folds for split in fold.splits)
        self._arrays: dict[int, np.ndarray] = {}
        self._held = Block(extraction, layers, self._arrays) if len(layers) <= self._most(items) else None

    def blocks(self, layers: Sequence[int], items: int) -> Iterator[list[OneLayer]]:
        """Yields some of the hidden states, a few at a time; `items` is the number of sounds whose means will be read."""
        if self._held is not None:
            yield [self._held.layer(layer) for layer in layers]
            return
        most = max(self._most(items), 1)
        for start in range(0, len(layers), most):
            block = Block(self.extraction, layers[start : start + most], self._arrays)
            yield [block.layer(layer) for layer in block.layers]

    def _most(self, items: int) -> int:
        """Returns how many hidden states of so many sounds fit into memory."""
        return LARGEST_BYTES // (4 * max(items, 1) * self.extraction.request.upstream.dim)
