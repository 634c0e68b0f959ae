"""Frames in 8 bits per value: integers from -127 to 127, with one scale for each frame and layer.

A value x of a frame is stored as round(x / scale), where scale is the largest absolute value of that frame in that layer,
divided by 127. So the error of every value is at most half its scale, and a frame of zeros stays a frame of zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

StoreFormat = Literal["float16", "int8"]
"""Formats in which frames are stored: half precision, or 8 bits per value. Means are always stored in single precision."""
STORE_FORMATS: tuple[StoreFormat, ...] = get_args(StoreFormat)
LARGEST = 127
"""The largest stored integer."""
SCALE_BYTES = 4
"""Bytes of a scale (float32)."""


SMALLEST_SCALE = torch.finfo(torch.float32).tiny
"""In place of 0, the scale of a frame of zeros."""
LARGEST_SCALE = torch.finfo(torch.float32).max / LARGEST * (1 - 1e-6)
"""127 times this scale is still finite."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """Frames in 8 bits per value: `values` (rows, layer, dim) int8, and `scales` (rows, layer, 1) float32.

    It can be indexed along rows and layers like the tensor that it stands for; `float` computes that tensor.
    """

    values: Tensor
    scales: Tensor

    @classmethod
    def of(cls, frames: Tensor) -> Quantized:
        """Returns frames (rows, layer, dim), which must be finite, in 8 bits per value, on the same device."""
        scales = (frames.float().abs().amax(-1, keepdim=True) / LARGEST).clamp(SMALLEST_SCALE, LARGEST_SCALE)
        values = (frames / scales).round_().clamp_(-LARGEST, LARGEST)
        return cls(values.to(torch.int8), scales)

    def float(self) -> Tensor:
        """Returns the frames in single precision, computed on the device on which they are."""
        return self.values * self.scales

    def to(self, device: str) -> Quantized:
        """Returns the frames on a device, still in 8 bits per value."""
        return Quantized(self.values.to(device), self.scales.to(device))

    def write(self, place: Tensor) -> None:
        """Writes the frames to `place` (layer, rows, dim), a float32 tensor on the CPU, without a copy in between."""
        torch.mul(self.values.transpose(0, 1), self.scales.transpose(0, 1), out=place)

    def __getitem__(self, index: Any) -> Quantized:
        return Quantized(self.values[index], self.scales[index])

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> torch.Size:
        """The shape (rows, layer, dim)."""
        return self.values.shape

    @property
    def nbytes(self) -> int:
        """Bytes of values and scales."""
        return self.values.nbytes + self.scales.nbytes


Rows = Tensor | Quantized
"""Features (rows, layer, dim): a tensor, or frames in 8 bits per value. Both have `shape`, `to` and `float`."""


def row_bytes(dim: int, store_format: StoreFormat) -> int:
    """Returns the bytes of one frame of one layer.

    >>> row_bytes(768, "float16"), row_bytes(768, "int8")
    (1536, 772)
    """
    return dim + SCALE_BYTES if store_format == "int8" else 2 * dim


def padded(frames: list[Rows], buffer: Tensor, device: str) -> Tensor:
    """Returns frames (layer, batch, time, dim) float32 on `device`, zero-padded to the longest.

    Frames in 8 bits per value are dequantised once: on a GPU after the transfer, else while they are written to `buffer`, whose
    memory the result uses.
    """
    _, layers, dim = frames[0].shape
    longest = max(len(rows) for rows in frames)
    quantized = [rows for rows in frames if isinstance(rows, Quantized)]
    if device != "cpu" and len(quantized) == len(frames):
        values = torch.zeros(layers, len(frames), longest, dim, dtype=torch.int8)
        scales = torch.zeros(layers, len(frames), longest, 1)
        for i, rows in enumerate(quantized):
            values[:, i, : len(rows)], scales[:, i, : len(rows)] = rows.values.transpose(0, 1), rows.scales.transpose(0, 1)
        return Quantized(values, scales).to(device).float()
    places = buffer.resize_(layers, len(frames), longest, dim)
    for i, item in enumerate(frames):
        if isinstance(item, Quantized):
            item.write(places[:, i, : len(item)])
        else:
            places[:, i, : len(item)] = item.transpose(0, 1)
        places[:, i, len(item) :] = 0
    return places.to(device)
