"""How a request for features is cut: pieces of sound, batches, shards. All of it follows from content alone.

Unique pieces are sorted by length, batched by padded samples, and batches are gathered into shards. A shard is the unit of work
and of resume, so a kill never changes which utterances met in a batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from superbench.contract import SAMPLE_RATE, Audio, Reduction
from superbench.data.audio import DECODING
from superbench.features.forward import BATCH_SAMPLES, WHOLE, ForwardOptions
from superbench.features.store import Sound

if TYPE_CHECKING:
    from superbench.plugins import Loaded

SHARD_BYTES = 64 * 2**20
SHARD_SECONDS = {"cpu": 300.0, "cuda": 10_000.0}
"""Sound in a shard: what a kill can cost at most."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of sound, its key in the store, how long it is (samples at 16 kHz; before trimming), the digest of its file."""

    key: bytes
    audio: Audio
    samples: int
    digest: str


Batches = list[list[Piece]]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a model: which features, made on which device, and how sound passes."""

    upstream: Loaded
    reduction: Reduction
    device: str
    passing: ForwardOptions = WHOLE

    def pieces(self, audios: Sequence[Audio], sounds: Sequence[Sound]) -> list[Piece]:
        """The pieces, the longest first, those of one length in an order of their sound alone, so that the same sounds meet in
        a batch whatever the model. `sounds`: what is known of the file of each."""
        pieces: dict[bytes, Piece] = {}
        order: dict[bytes, tuple[int, str]] = {}
        same: list[Piece] = []
        kind = self._kind()
        for audio, sound in zip(audios, sounds, strict=True):
            heard = f"{sound.digest}|{audio.start}|{audio.end}|{audio.gain_db}|{audio.trim}"
            text = f"{self.upstream.revision}|{kind}|{heard}"
            whole = round(sound.samples * SAMPLE_RATE / sound.rate)
            samples = min(max(min(audio.end or whole, whole) - audio.start, 1), audio.crop or whole)
            piece = Piece(hashlib.blake2b(text.encode(), digest_size=16).digest(), audio, samples, sound.digest)
            order[piece.key] = (-samples, heard)
            (same.append(piece) if piece.key in pieces else pieces.setdefault(piece.key, piece))
        return [*sorted(pieces.values(), key=lambda piece: order[piece.key]), *same]

    def _kind(self) -> str:
        """What keys features besides the model and the sound."""
        how = self.passing
        kind = f"{self.reduction}|{self._stored()}|{how.precision}|{self.device}|torch {torch.__version__}"
        kind += "".join(f"|{library}" for library in self.upstream.libraries) + f"|decoding {DECODING}"
        kind += f"|chunk {how.chunk}" if how.chunk else ""
        return kind + (f"|layer {how.layer}" if how.layer is not None else "")

    def _stored(self) -> str:
        return "float32" if self.reduction == "mean" else "float16"

    def shards(self, pieces: Sequence[Piece]) -> Iterator[tuple[str, Batches]]:
        """Batches in order of length, gathered until a shard is full; the name is a digest of the keys in order."""
        unique = list({piece.key: piece for piece in reversed(pieces)}.values())[::-1]
        shard: Batches = []
        size, seconds = 0, 0.0
        for batch in fitting(unique, lambda piece: piece.samples, BATCH_SAMPLES[self.device]):
            added = self._bytes(batch)
            if shard and (size + added > SHARD_BYTES or seconds >= SHARD_SECONDS[self.device]):
                yield name_of(shard), shard
                shard, size, seconds = [], 0, 0.0
            shard.append(batch)
            size, seconds = size + added, seconds + seconds_of([batch])
        if shard:
            yield name_of(shard), shard

    def _bytes(self, batch: Sequence[Piece]) -> int:
        layers = self.upstream.layers if self.passing.layer is None else 1
        if self.reduction == "mean":
            return len(batch) * layers * self.upstream.dim * 4
        return sum(piece.samples // self.upstream.hop for piece in batch) * layers * self.upstream.dim * 2


def fitting(items: Sequence[Any], samples: Callable[[Any], int], budget: int) -> Iterator[list[Any]]:
    """Neighbours of a list, longest first, gathered while their padded samples stay within `budget`; one at least."""
    batch: list[Any] = []
    for item in items:
        if batch and samples(batch[0]) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def unlike(batches: Batches, stored: Container[bytes]) -> Batches:
    """The batches without what is stored; a piece may lie in another request's shard."""
    left = ([piece for piece in batch if piece.key not in stored] for batch in batches)
    return [batch for batch in left if batch]


def seconds_of(batches: Batches) -> float:
    """Seconds of sound."""
    return sum(piece.samples for batch in batches for piece in batch) / SAMPLE_RATE


def name_of(shard: Batches) -> str:
    """A digest of the keys in order."""
    return hashlib.blake2b(b"".join(piece.key for batch in shard for piece in batch), digest_size=16).hexdigest()
