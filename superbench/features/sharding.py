"""Splits a request for features into segments of sound, batches and shards. The result depends only on content.

Unique segments are sorted by length and batched by padded samples; batches are gathered into shards. A shard is the unit of
work and of resuming, so an interruption never changes which utterances are in the same batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Audio, Reduction
from superbench.data.audio import DECODING
from superbench.features.culprit import computed_or_named
from superbench.features.forward import BATCH_SAMPLES, WHOLE, Begun, ForwardOptions, Padded, begin, forward, padded
from superbench.features.quantized import Rows, row_bytes
from superbench.features.store import Sound
from superbench.features.transfer import Transfer

if TYPE_CHECKING:
    from superbench.plugins import Loaded

SHARD_BYTES = 64 * 2**20
SHARD_SECONDS = {"cpu": 300.0, "cuda": 10_000.0}
"""Seconds of sound in a shard. An interruption loses the shard that is computed, and those that are being written."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment of sound: its key in the store, its length (samples at 16 kHz, before trimming), and the digest of its file."""

    key: bytes
    audio: Audio
    samples: int
    digest: str


Batches = list[list[Piece]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a model: the reduction of its features, the device, and the forward options."""

    upstream: Loaded
    reduction: Reduction
    device: str
    passing: ForwardOptions = WHOLE

    def pieces(self, audios: Sequence[Audio], sounds: Sequence[Sound]) -> list[Piece]:
        """Returns the segments, longest first. The order within one length depends only on the sound, so that every model gets
        the same batches. `sounds`: facts about the file of each segment."""
        pieces: dict[bytes, Piece] = {}
        order: dict[bytes, tuple[int, str]] = {}
        same: list[Piece] = []
        settings = self._settings()
        for audio, sound in zip(audios, sounds, strict=True):
            content = f"{sound.digest}|{audio.start}|{audio.end}|{audio.gain_db}|{audio.trim}"
            text = f"{self.upstream.revision}|{settings}|{content}"
            whole = round(sound.samples * SAMPLE_RATE / sound.rate)
            samples = min(max(min(audio.end or whole, whole) - audio.start, 1), audio.crop or whole)
            piece = Piece(hashlib.blake2b(text.encode(), digest_size=16).digest(), audio, samples, sound.digest)
            order[piece.key] = (-samples, content)
            (same.append(piece) if piece.key in pieces else pieces.setdefault(piece.key, piece))
        return [*sorted(pieces.values(), key=lambda piece: order[piece.key]), *same]

    def computed(self, waves: list[Tensor], audios: list[Audio]) -> list[Rows]:
        """Returns features (rows, layer, dim) of each wave (samples) of the segments, computed as one padded batch.

        Raises `BadUpstream` that names the sound at which the model raises an exception, `LostDevice` if the GPU failed.
        """

        def compute(waves: Sequence[Tensor], audios: Sequence[Audio]) -> list[Rows]:
            return forward(self.upstream, waves, audios, self.reduction, self.device, self.passing)

        return computed_or_named(compute, waves, audios, self.upstream.alias)

    def padded(self, waves: Sequence[Tensor], audios: Sequence[Audio]) -> Padded:
        """Returns the waves (samples) of the segments as a batch for `begin`."""
        return padded(self.upstream, waves, audios, self.device, self.passing)

    def begin(self, batch: Padded, transfer: Transfer, *, alone: bool) -> Begun:
        """Starts to compute the features of a batch (see `forward.begin`)."""
        return begin(self.upstream, batch, self.reduction, self.device, self.passing, transfer, alone=alone)

    @property
    def batch_samples(self) -> int:
        """Largest number of padded samples in a batch."""
        return self.passing.batch or BATCH_SAMPLES[self.device]

    def _settings(self) -> str:
        """Returns the part of a key that depends on neither the model nor the sound."""
        options = self.passing
        settings = f"{self.reduction}|{self._stored()}|{options.precision}|{self.device}|torch {torch.__version__}"
        settings += "".join(f"|{library}" for library in self.upstream.libraries) + f"|decoding {DECODING}"
        settings += f"|chunk {options.chunk}" if options.chunk else ""
        settings += f"|batch {options.batch}" if self.batch_samples != BATCH_SAMPLES[self.device] else ""
        return settings + (f"|layer {','.join(map(str, options.layers))}" if options.layers is not None else "")

    def _stored(self) -> str:
        return "float32" if self.reduction == "mean" else self.passing.store_format

    def shards(self, pieces: Sequence[Piece]) -> Iterator[tuple[str, Batches]]:
        """Yields the name and the batches of each shard. Batches in order of length fill one shard after another."""
        unique = list({piece.key: piece for piece in reversed(pieces)}.values())[::-1]
        shard: Batches = []
        size, seconds = 0, 0.0
        for batch in fitting(unique, lambda piece: piece.samples, self.batch_samples):
            added = self._bytes(batch)
            if shard and (size + added > SHARD_BYTES or seconds >= SHARD_SECONDS[self.device]):
                yield name_of(shard), shard
                shard, size, seconds = [], 0, 0.0
            shard.append(batch)
            size, seconds = size + added, seconds + seconds_of([batch])
        if shard:
            yield name_of(shard), shard

    def _bytes(self, batch: Sequence[Piece]) -> int:
        layers = self.upstream.layers if self.passing.layers is None else len(self.passing.layers)
        if self.reduction == "mean":
            return len(batch) * layers * self.upstream.dim * 4
        row = row_bytes(self.upstream.dim, self.passing.store_format)
        return sum(piece.samples // self.upstream.hop for piece in batch) * layers * row


def fitting(items: Sequence[Any], samples: Callable[[Any], int], budget: int) -> Iterator[list[Any]]:
    """Yields batches of consecutive items, longest first, whose padded samples stay within `budget`; at least one item each."""
    batch: list[Any] = []
    for item in items:
        if batch and samples(batch[0]) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def unlike(batches: Batches, stored: Container[bytes]) -> Batches:
    """Returns the batches without stored segments. A segment may be stored in the shard of another request."""
    absent = ([piece for piece in batch if piece.key not in stored] for batch in batches)
    return [batch for batch in absent if batch]


def seconds_of(batches: Batches) -> float:
    """Returns the seconds of sound in the batches."""
    return sum(piece.samples for batch in batches for piece in batch) / SAMPLE_RATE


def name_of(shard: Batches) -> str:
    """Returns the name of a shard: the digest of its keys in order."""
    return hashlib.blake2b(b"".join(piece.key for batch in shard for piece in batch), digest_size=16).hexdigest()
