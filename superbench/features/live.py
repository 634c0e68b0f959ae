"""Features that are not stored: the sound passes through the frozen model at every reading."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Audio
from superbench.data.audio import load
from superbench.features.decoding import pool_of
from superbench.features.quantized import Rows
from superbench.features.sharding import Request, fitting

BatchKey = tuple[int, ...]
"""Key of a training batch: (update, micro-batch). It alone seeds the random crops."""


@dataclass(slots=True)
class LivePass:
    """Passes sound through the model of a request, and counts the seconds of sound that passed. `readers`: threads that decode
    sound while the model computes."""

    request: Request
    readers: int
    passed_seconds: float = 0.0
    _coming: dict[tuple[BatchKey, int], Future[Tensor]] = field(default_factory=dict)
    _readers: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        """Makes the threads, which start with the first reading."""
        self._readers = pool_of(self.readers, self.request.device)

    def read(self, audios: Sequence[Audio], batch: BatchKey) -> list[Rows]:
        """Returns features (rows, layer, dim) of each segment; they pass in one padded batch if it fits."""
        if not audios:
            return []
        coming = [self._coming.get((batch, i)) or self._load(audio, batch, i) for i, audio in enumerate(audios)]
        waves = [future.result() for future in coming]
        self.passed_seconds += sum(len(wave) for wave in waves) / SAMPLE_RATE
        order = sorted(range(len(waves)), key=lambda i: -len(waves[i]))
        rows: dict[int, Rows] = {}
        for group in fitting(order, lambda i: len(waves[i]), self.request.batch_samples):
            inputs = [waves[i] for i in group], [audios[i] for i in group]
            rows |= zip(group, self.request.computed(*inputs), strict=True)
        return [rows[i] for i in range(len(waves))]

    def prefetch(self, audios: Sequence[Audio], batch: BatchKey) -> None:
        """Starts to decode the sound that `read` will need for this batch, in background threads."""
        self._coming = {(batch, i): self._load(audio, batch, i) for i, audio in enumerate(audios)}

    def close(self) -> None:
        """Ends the threads; nothing can be read afterwards."""
        self._readers.shutdown(cancel_futures=True)

    def _load(self, audio: Audio, batch: BatchKey, position: int) -> Future[Tensor]:
        return self._readers.submit(load, audio, np.random.default_rng([1337, *batch, position]) if batch else None)
