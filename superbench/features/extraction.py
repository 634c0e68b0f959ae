"""Through the frozen model once: every piece of sound that is not in the store yet.

The whole request is planned up front, from content alone: unique pieces sorted by length, batches by padded samples, batches
gathered into shards. A shard is the unit of work and of resume, so a kill never changes which utterances met in a batch.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Audio, Reduction
from superbench.errors import BadUpstream
from superbench.features.audio import load
from superbench.features.store import Entry, Store
from superbench.reporting import Reporter

if TYPE_CHECKING:
    from superbench.registry import Loaded

BATCH_SAMPLES = {"cpu": 60 * SAMPLE_RATE, "cuda": 600 * SAMPLE_RATE}
SHARD_BYTES = 64 * 2**20
SHARD_SECONDS = {"cpu": 300.0, "cuda": 10_000.0}
"""Sound in a shard: what a kill can cost at most."""
LARGEST_HALF = 65504.0
TOLERATED_FRAMES = 5
"""How far a model's frames may be from round(samples / hop) (protocol.md 1.3)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of sound, its key in the store, and how long it is (samples at 16 kHz; before trimming)."""

    key: bytes
    audio: Audio
    samples: int


@dataclass(slots=True)
class Extraction:
    """Where the features of a request lie, and what it took: seconds of sound through the model, seconds of work."""

    entries: dict[Audio, Entry]
    store: Store
    sound_seconds: float = 0.0
    passed_seconds: float = 0.0
    work_seconds: float = 0.0
    rates: dict[int, int] = field(default_factory=dict)
    lengths: dict[Audio, int] = field(default_factory=dict)

    def __getitem__(self, audio: Audio) -> Tensor:
        """Features (rows, layer, dim) of a piece; one row where means are kept, else one for each frame."""
        return self.store.read(self.entries[audio])

    def samples(self, audio: Audio) -> int:
        """Length of a piece, samples at 16 kHz, before trimming."""
        return self.lengths[audio]


def extract(
    upstream: Loaded, audios: Sequence[Audio], reduction: Reduction, store: Store, device: str, reporter: Reporter
) -> Extraction:
    """Features of `audios`, from the store or through the model; raises `BadAudio`, `BadUpstream`, `StoreError`."""
    began = time.perf_counter()
    unique = list(dict.fromkeys(audios))
    result = Extraction({}, store)
    pieces = _pieces(upstream, unique, reduction, store, device, result)
    shards = list(_shards(upstream, pieces, reduction, device))
    stored = store.find([piece.key for piece in pieces])
    total = sum(piece.samples for piece in pieces) / SAMPLE_RATE
    missing = [shard for shard in shards if not all(piece.key in stored for batch in shard[1] for piece in batch)]
    done = total - sum(_seconds(batches) for _, batches in missing)
    busy: list[tuple[str, list[list[Piece]]]] = []
    for patient in (False, True):  # shards that another process is making are left for the end, then waited for
        for name, batches in missing if not patient else busy:
            with store.working_on(name, wait=patient) as mine:
                if not mine:
                    busy.append((name, batches))
                    continue
                keys = {piece.key for batch in batches for piece in batch}
                if len(store.find(list(keys))) < len(keys):
                    _run(upstream, name, batches, reduction, store, device, _advance(reporter, done, total))
                    result.passed_seconds += _seconds(batches)
            done += _seconds(batches)
            reporter.advance("extract", done, total)
    found = store.find([piece.key for piece in pieces])
    result.entries = {piece.audio: found[piece.key] for piece in pieces}
    result.lengths = {piece.audio: piece.samples for piece in pieces}
    result.sound_seconds = total
    result.work_seconds = time.perf_counter() - began
    return result


def _seconds(batches: list[list[Piece]]) -> float:
    return sum(piece.samples for batch in batches for piece in batch) / SAMPLE_RATE


def _advance(reporter: Reporter, before: float, total: float) -> Callable[[float], None]:
    return lambda part: reporter.advance("extract", before + part, total)


def _pieces(
    upstream: Loaded, audios: list[Audio], reduction: Reduction, store: Store, device: str, result: Extraction
) -> list[Piece]:
    recipe = f"{upstream.revision}|{reduction}|{_stored(reduction)}|float32|{device}|torch {torch.__version__}"
    pieces: dict[bytes, Piece] = {}
    same: list[Piece] = []
    for audio, sound in zip(audios, store.sounds([audio.path for audio in audios]), strict=True):
        result.rates[sound.rate] = result.rates.get(sound.rate, 0) + 1
        text = f"{recipe}|{sound.digest}|{audio.start}|{audio.end}|{audio.gain_db}|{audio.trim}"
        whole = round(sound.samples * SAMPLE_RATE / sound.rate)
        samples = max(min(audio.end or whole, whole) - audio.start, 1)
        piece = Piece(hashlib.blake2b(text.encode(), digest_size=16).digest(), audio, samples)
        (same.append(piece) if piece.key in pieces else pieces.setdefault(piece.key, piece))
    return [*sorted(pieces.values(), key=lambda piece: (-piece.samples, piece.key)), *same]


def _stored(reduction: Reduction) -> str:
    return "float32" if reduction == "mean" else "float16"


def _shards(
    upstream: Loaded, pieces: Sequence[Piece], reduction: Reduction, device: str
) -> Iterator[tuple[str, list[list[Piece]]]]:
    """Batches in order of length, gathered until a shard is full; the name is a digest of the keys in order."""
    width = upstream.layers * upstream.dim * (4 if reduction == "mean" else 2)
    shard: list[list[Piece]] = []
    size, seconds = 0, 0.0
    for batch in _batches(list(dict.fromkeys(pieces)), 0 if upstream.alone else BATCH_SAMPLES[device]):
        rows = len(batch) if reduction == "mean" else sum(piece.samples // upstream.hop for piece in batch)
        full = size + rows * width > SHARD_BYTES or seconds >= SHARD_SECONDS[device]
        if shard and full:
            yield _name(shard), shard
            shard, size, seconds = [], 0, 0.0
        shard.append(batch)
        size, seconds = size + rows * width, seconds + _seconds([batch])
    if shard:
        yield _name(shard), shard


def _name(shard: list[list[Piece]]) -> str:
    return hashlib.blake2b(b"".join(piece.key for batch in shard for piece in batch), digest_size=16).hexdigest()


def _batches(pieces: Sequence[Piece], budget: int) -> Iterator[list[Piece]]:
    seen: set[bytes] = set()
    batch: list[Piece] = []
    for piece in pieces:
        if piece.key in seen:
            continue
        seen.add(piece.key)
        longest = batch[0].samples if batch else piece.samples
        if batch and longest * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


def _run(
    upstream: Loaded,
    name: str,
    batches: list[list[Piece]],
    reduction: Reduction,
    store: Store,
    device: str,
    advance: Callable[[float], None],
) -> None:
    """One shard through the model; the next batch is decoded while this one is computed."""
    keys: list[bytes] = []
    values: list[Tensor] = []
    passed = 0.0
    with ThreadPoolExecutor(2) as readers:
        pending = [[readers.submit(load, piece.audio) for piece in batch] for batch in batches[:2]]
        for number, batch in enumerate(batches):
            waves = [future.result() for future in pending.pop(0)]
            if number + 2 < len(batches):
                pending.append([readers.submit(load, piece.audio) for piece in batches[number + 2]])
            keys += [piece.key for piece in batch]
            values += forward(upstream, waves, [piece.audio for piece in batch], reduction, device)
            passed += sum(len(wave) for wave in waves) / SAMPLE_RATE
            advance(passed)
    store.add(name, keys, values)


def forward(
    upstream: Loaded, waves: Sequence[Tensor], audios: Sequence[Audio], reduction: Reduction, device: str
) -> list[Tensor]:
    """Reduced features of a batch: each (1, layer, dim) for `mean`, (frames, layer, dim) for `frames`, on the CPU.

    An utterance of n samples keeps min(round(n / hop), frames that the model yields for it) frames, at least one.
    Out of memory halves the batch and goes on; a single utterance that does not fit is an error.
    """
    try:
        lengths = torch.tensor([len(wave) for wave in waves])
        padded = torch.nn.utils.rnn.pad_sequence(list(waves), batch_first=True)
        with torch.inference_mode():
            features = upstream.model(padded.to(device), lengths.to(device))
        frames, valid = features.frames.float(), features.lengths.tolist()
    except torch.OutOfMemoryError as error:
        if len(waves) == 1:
            raise BadUpstream(
                f"{upstream.alias} does not fit into memory with {audios[0].path} ({len(waves[0]) / SAMPLE_RATE:.1f} s) alone."
            ) from error
        half = len(waves) // 2
        return [
            *forward(upstream, waves[:half], audios[:half], reduction, device),
            *forward(upstream, waves[half:], audios[half:], reduction, device),
        ]
    _check(upstream, frames, len(waves))
    reduced = []
    for i, (wave, audio) in enumerate(zip(waves, audios, strict=True)):
        expected = round(len(wave) / upstream.hop)
        if abs(valid[i] - expected) >= TOLERATED_FRAMES:
            raise BadUpstream(
                f"{upstream.alias} gives {valid[i]} frames for {audio.path}, which has {len(wave)} samples: expected about "
                f"{expected} at a hop of {upstream.hop}. Correct the model's `hop`, or its `lengths`."
            )
        own = frames[:, i, : max(min(expected, valid[i]), 1)]
        if not torch.isfinite(own).all():
            raise BadUpstream(f"{upstream.alias} gives NaN or infinite features for {audio.path}.")
        reduced.append(_reduce(own, reduction))
    return reduced


def _check(upstream: Loaded, frames: Tensor, batch: int) -> None:
    if frames.shape[0] != upstream.layers or frames.shape[1] != batch or frames.shape[3] != upstream.dim:
        raise BadUpstream(
            f"{upstream.alias} gave frames of shape {tuple(frames.shape)}; it declares (layer, batch, time, dim) = "
            f"({upstream.layers}, {batch}, …, {upstream.dim})."
        )


def _reduce(own: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "mean":
        return own.mean(dim=1)[None].cpu()
    kept = own.transpose(0, 1).contiguous().cpu()  # (time, layer, dim)
    return kept.half() if float(kept.abs().max()) <= LARGEST_HALF else kept


def means(extraction: Extraction, audios: Sequence[Audio]) -> Tensor:
    """Stored means of `audios` as one (item, layer, dim) float32 tensor."""
    first = extraction[audios[0]]
    gathered = np.empty((len(audios), *first.shape[1:]), np.float32)
    for i, audio in enumerate(audios):
        gathered[i] = extraction[audio][0].numpy()
    return torch.from_numpy(gathered)
