"""Moves sound to a GPU, and features from it, while the GPU computes.

Sound lies in pinned memory and is copied on a stream of its own. Features of a batch are reduced and copied on a third stream,
while the model computes the next batch. On a CPU nothing is moved.
https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor


class Transfer(Protocol):
    """Moves tensors to the device of a model and back. `depth`: batches that may wait for their reduction while the device
    computes another one."""

    depth: int

    def up(self, tensor: Tensor) -> Tensor:
        """Returns the tensor on the device, for work that is queued from now on."""

    def mark(self) -> Any:
        """Returns a mark behind the work that was queued until now."""

    def after(self, mark: Any) -> AbstractContextManager[None]:
        """Queues the work of the block behind the mark, beside later work; tensors of the block are ready at its end."""


class Nowhere:
    """The `Transfer` of a CPU."""

    depth = 0

    def up(self, tensor: Tensor) -> Tensor:
        """Returns the tensor."""
        return tensor

    def mark(self) -> None:
        """Returns None: everything is computed at once."""

    def after(self, mark: None) -> AbstractContextManager[None]:
        """Does nothing."""
        return contextlib.nullcontext()


class Streams:
    """The `Transfer` of the current GPU of this thread."""

    depth = 1

    def __init__(self) -> None:
        self._up, self._down = torch.cuda.Stream(), torch.cuda.Stream(priority=-1)

    def up(self, tensor: Tensor) -> Tensor:
        """Copies the tensor (in pinned memory) beside the work that is queued; later work waits for the copy."""
        with torch.cuda.stream(self._up):
            moved = tensor.to("cuda", non_blocking=True)
        current = torch.cuda.current_stream()
        current.wait_stream(self._up)
        moved.record_stream(current)  # so that its memory is not used again before the model has read it
        return moved

    def mark(self) -> torch.cuda.Event:
        """Returns an event of the current stream."""
        return torch.cuda.current_stream().record_event()

    @contextlib.contextmanager
    def after(self, mark: torch.cuda.Event) -> Iterator[None]:
        """Runs the block on the third stream, and waits for it: then memory that it read may be freed."""
        self._down.wait_event(mark)
        with torch.cuda.stream(self._down):
            try:
                yield
            finally:
                self._down.synchronize()


def transfer_of(device: str) -> Transfer:
    """Returns the `Transfer` of a device (`cpu` or `cuda`)."""
    return Streams() if device == "cuda" else Nowhere()


def host_buffer(shape: Sequence[int], device: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Returns an empty tensor in memory from which the device copies without a detour: pinned memory for a GPU."""
    return torch.empty(*shape, dtype=dtype, pin_memory=device == "cuda")


def down(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Returns tensors (rows, layer, dim) of one type in CPU memory; from a GPU, in one copy to pinned memory. They are complete
    when the work of the current stream is."""
    if not tensors or tensors[0].device.type == "cpu":
        return list(tensors)
    joined = torch.cat(list(tensors))
    host = torch.empty(joined.shape, dtype=joined.dtype, pin_memory=True)
    host.copy_(joined, non_blocking=True)
    return list(host.split([len(tensor) for tensor in tensors]))


def reading_thread(device: str) -> Callable[[], None] | None:
    """Returns what a thread does first that prepares sound for the current GPU of this thread: it uses the same GPU. Otherwise,
    pinned memory would belong to the first one, and take memory there."""
    return partial(torch.cuda.set_device, torch.cuda.current_device()) if device == "cuda" else None
