"""Decodes sound in threads, ahead of the model, with bounded memory.

libsndfile decodes without Python's lock, so threads use as many cores as there are. Order and number of threads have no
influence on the decoded sound, nor on which sounds are in a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from torch import Tensor

from superbench.contract import SAMPLE_RATE, Audio
from superbench.data.audio import load
from superbench.features.forward import Padded
from superbench.features.sharding import Piece
from superbench.features.transfer import reading_thread

BATCHES_AHEAD = 2
"""Batches that are decoded ahead of the model, at least."""
AHEAD_SECONDS = 30
"""Seconds of sound for each thread that may be decoded ahead, if this is more than `BATCHES_AHEAD`."""
TASK_SAMPLES = 20 * SAMPLE_RATE
"""Samples that a thread decodes at once: short sounds are decoded several at a time."""

Padding = Callable[[Sequence[Tensor], Sequence[Audio]], Padded]


def pool_of(readers: int, device: str) -> ThreadPoolExecutor:
    """Returns `readers` threads that decode sound for a model on the device."""
    return ThreadPoolExecutor(readers, "reader", initializer=reading_thread(device))


def decoded(audios: Sequence[Audio]) -> list[Tensor]:
    """Returns the wave (samples at 16 kHz) of each segment; raises `BadAudio`."""
    return [load(audio) for audio in audios]


@dataclass(slots=True)
class Decoder:
    """Decodes batches in the order in which they are expected, pads them with `pad`, and stays ahead of those that are taken.

    `readers`: number of threads.
    """

    readers: int
    device: str
    pad: Padding
    _expected: deque[Sequence[Piece]] = field(default_factory=deque)
    _coming: deque[tuple[int, Future[Padded]]] = field(default_factory=deque)
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        """Makes the threads, which start with the first batch."""
        self._pool = pool_of(self.readers, self.device)

    def expect(self, batches: Iterable[Sequence[Piece]]) -> None:
        """Appends batches to those that are expected, and starts to decode the next ones."""
        self._expected.extend(batches)
        self._advance(0)

    @property
    def is_short(self) -> bool:
        """Whether more batches should be expected, so that decoding stays ahead."""
        return not self._expected and self._has_room(0, 0)

    def take(self) -> Padded:
        """Returns the next batch that is expected, ready for the model; starts to decode further ones. Raises `BadAudio`."""
        samples, future = self._coming.popleft()
        self._advance(samples)
        return future.result()

    def close(self) -> None:
        """Ends the threads after their present tasks."""
        self._pool.shutdown(cancel_futures=True)

    def _advance(self, taken: int) -> None:
        """Starts to decode further batches; `taken`: samples of the batch that is taken now."""
        while self._expected and self._has_room(taken, _samples(self._expected[0])):
            batch = self._expected.popleft()
            self._coming.append((_samples(batch), self._started(batch)))

    def _has_room(self, taken: int, more: int) -> bool:
        """Returns whether a batch of `more` samples may be decoded beside those that are coming or taken."""
        ahead = taken + sum(samples for samples, _ in self._coming)
        return len(self._coming) < BATCHES_AHEAD or ahead + more < self.readers * AHEAD_SECONDS * SAMPLE_RATE

    def _started(self, batch: Sequence[Piece]) -> Future[Padded]:
        audios = [piece.audio for piece in batch]
        parts = [self._pool.submit(decoded, [piece.audio for piece in part]) for part in _parts(batch)]
        return self._pool.submit(self._padded, parts, audios)  # threads start tasks in order: what it waits for has started

    def _padded(self, parts: Sequence[Future[list[Tensor]]], audios: Sequence[Audio]) -> Padded:
        return self.pad([wave for part in parts for wave in part.result()], audios)


def _samples(batch: Sequence[Piece]) -> int:
    return sum(piece.samples for piece in batch)


def _parts(batch: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Yields consecutive pieces of about `TASK_SAMPLES` together."""
    waiting, part, samples = deque(batch), list[Piece](), 0
    while waiting:
        part.append(piece := waiting.popleft())
        samples += piece.samples
        if samples >= TASK_SAMPLES or not waiting:
            yield part
            part, samples = [], 0
