"""Extracts features: passes each segment of sound that is not stored yet through the frozen model once.

The complete request is planned first (see `sharding`) and computed shard by shard (see `stored`). What is not stored passes
through the model whenever it is read (see `live`).
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Audio, Reduction
from superbench.errors import BadUpstream
from superbench.features.forward import WHOLE, ForwardOptions
from superbench.features.live import BatchKey, LivePass
from superbench.features.quantized import Rows
from superbench.features.sharding import Piece, Request
from superbench.features.store import Entry, Store
from superbench.features.stored import StoredPass
from superbench.plugins.reference_outputs import check_steady
from superbench.system.progress import Reporter, Silence

if TYPE_CHECKING:
    from superbench.plugins import Loaded


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of an extraction.

    `rates`: number of sounds by the sampling rate of their file. `sound_seconds`: requested sound; `passed_seconds`: sound that
    passed through the model to be stored; `work_seconds`: wall time.
    """

    rates: Mapping[int, int]
    sound_seconds: float
    passed_seconds: float
    work_seconds: float


@dataclass(slots=True)
class Extraction:
    """Features of a request: those of `entries` are stored, all others are computed at every reading.

    Fresh crops are always computed at reading, and everything if frames are not stored. With `chosen`, only these hidden
    states are returned. `lengths`: of each segment, in samples at 16 kHz, before trimming. `padded`: a buffer for batches of
    frames.
    """

    store: Store
    entries: Mapping[Audio, Entry]
    live: LivePass
    lengths: Mapping[Audio, int]
    statistics: Statistics
    chosen: tuple[int, ...] | None = None
    padded: Tensor = field(default_factory=lambda: torch.empty(0))
    _checked_seconds: float = 0.0

    def read(self, audios: Sequence[Audio], batch: BatchKey = ()) -> list[Rows]:
        """Returns features (rows, layer, dim) of each segment: one row for means, else one for each frame, in their format.

        Sound without stored features passes through the model now, in one padded batch if it fits.
        """
        live = [i for i, audio in enumerate(audios) if audio not in self.entries]
        computed = dict(zip(live, self.live.read([audios[i] for i in live], batch), strict=True))
        rows = [computed[i] if i in computed else self.store.read(self.entries[audio]) for i, audio in enumerate(audios)]
        return [self._selected(row) for row in rows]

    def means_in_parts(self, audios: Sequence[Audio], layers: slice | list[int]) -> Iterator[tuple[list[int], Tensor]]:
        """Yields features averaged over time (item, layer, dim), float32, of these hidden states, with places in `audios`.

        Stored means are read a shard at a time. Frames, and sound without stored features, are read one after the other.
        """
        shards, others = defaultdict[str, list[tuple[int, int]]](list), []
        for place, audio in enumerate(audios):
            entry = self.entries.get(audio)
            if entry is None or entry.rows != 1:
                others.append(place)
            else:
                shards[entry.shard].append((place, entry.start))
        for shard, located in shards.items():
            places, starts = map(list, zip(*located, strict=True))
            yield places, self._selected(self.store.rows_of(shard))[:, layers][starts].float()
        for place in others:
            yield [place], self[audios[place]][:, layers].float().mean(0, keepdim=True)

    def prefetch(self, audios: Sequence[Audio], batch: BatchKey) -> None:
        """Starts to decode the sound that `read` will need for this batch, in background threads."""
        self.live.prefetch([audio for audio in audios if audio not in self.entries], batch)

    def __getitem__(self, audio: Audio) -> Rows:
        """Returns features (rows, layer, dim) of one segment."""
        return self.read([audio])[0]

    def _selected(self, rows: Rows) -> Rows:
        """Returns the chosen hidden states; some shards contain no others."""
        if self.chosen is None or rows.shape[1] == len(self.chosen):
            return rows
        return rows[:, list(self.chosen)]

    def close(self) -> None:
        """Ends the threads that decode sound; afterwards, only stored features can be read."""
        self.live.close()

    def check_steady(self) -> None:
        """Raises `BadUpstream` if the model changed while it computed features; they are then removed from the store."""
        if self.passed_seconds == self._checked_seconds:
            return
        self._checked_seconds = self.passed_seconds
        try:
            check_steady(self.request.upstream, self.request.device)
        except BadUpstream:
            self.store.forget_older({entry.shard for entry in self.entries.values()}, math.inf)
            raise

    @property
    def request(self) -> Request:
        """What passes through the model at reading, and how."""
        return self.live.request

    @property
    def passed_seconds(self) -> float:
        """Seconds of sound that passed through the model until now, to be stored and at reading."""
        return self.statistics.passed_seconds + self.live.passed_seconds

    @property
    def layers(self) -> int:
        """Number of layers that `read` returns."""
        return self.request.upstream.layers if self.chosen is None else len(self.chosen)

    def samples(self, audio: Audio) -> int:
        """Returns the length of a segment (samples at 16 kHz, before trimming); for a fresh crop, the length of the crop."""
        return self.lengths[audio]


def extract(
    upstream: Loaded,
    audios: Sequence[Audio],
    reduction: Reduction,
    store: Store,
    device: str,
    reporter: Reporter,
    live: Collection[Audio] = (),
    layers: tuple[int, ...] | None = None,
    passing: ForwardOptions = WHOLE,
    since: float | None = None,
) -> Extraction:
    """Returns features of `audios`, from the store or from the model; raises `BadAudio`, `BadUpstream`, `StoreError`.

    Features of `live` segments are not stored but computed at each reading (if there are too many frames to store), as are
    fresh crops of longer sound. With `layers` (ascending), frames are stored only for these hidden states, unless all
    are stored already. Features stored before `since` (Unix time), or before the reference outputs of the model, are computed
    again.
    """
    began = time.perf_counter()
    work, request = _pass(upstream, store, since, reporter), Request(upstream, reduction, device, passing)
    unique = list(dict.fromkeys(audios))
    sounds = store.sounds([audio.path for audio in unique])
    pieces, rates = request.pieces(unique, sounds), Counter(sound.rate for sound in sounds)
    request, fixed, entries = _to_store(work, request, _fixed(pieces, live), layers)
    work.compute(request, fixed)
    stored = work.entries(fixed)
    entries |= {piece.audio: stored[piece.key] for piece in fixed}
    statistics = Statistics(
        rates, sum(piece.samples for piece in pieces) / SAMPLE_RATE, work.passed_seconds, time.perf_counter() - began
    )
    lengths = {piece.audio: piece.samples for piece in pieces}
    return Extraction(
        store=store,
        entries=entries,
        live=LivePass(request, store.readers),
        lengths=lengths,
        statistics=statistics,
        chosen=layers,
    )


def contribute(
    upstream: Loaded,
    audios: Sequence[Audio],
    reduction: Reduction,
    store: Store,
    device: str,
    live: Collection[Audio] = (),
    layers: tuple[int, ...] | None = None,
    passing: ForwardOptions = WHOLE,
    since: float | None = None,
) -> float:
    """Stores a part of the features that another process extracts with the same arguments: shards on which nobody works.

    Returns the seconds of sound that passed through the model. Raises the errors of `extract`.
    """
    work, request = _pass(upstream, store, since, Silence()), Request(upstream, reduction, device, passing)
    pieces = work.pieces(request, list(dict.fromkeys(audios)))
    request, fixed, _ = _to_store(work, request, _fixed(pieces, live), layers)
    made = work.contribute(request, fixed)
    try:
        check_steady(upstream, device)
    except BadUpstream:
        store.forget_older(made, math.inf)
        raise
    return work.passed_seconds


def _pass(upstream: Loaded, store: Store, since: float | None, reporter: Reporter) -> StoredPass:
    """Returns the pass that computes again what is older than `since` or than the reference outputs of the model."""
    return StoredPass(store, max(since or 0.0, upstream.outputs.since if upstream.outputs else 0.0), reporter)


def _fixed(pieces: Sequence[Piece], live: Collection[Audio]) -> list[Piece]:
    """Returns the segments that are the same at every reading, so that they can be stored."""
    return [piece for piece in pieces if piece.audio not in live and not _is_cropped(piece)]


def _is_cropped(piece: Piece) -> bool:
    return piece.audio.crop is not None and piece.samples >= piece.audio.crop


def _to_store(
    work: StoredPass, request: Request, pieces: Sequence[Piece], layers: tuple[int, ...] | None
) -> tuple[Request, Sequence[Piece], dict[Audio, Entry]]:
    """Returns the request for the segments that must be stored, these segments, and entries that replace the others.

    Frames of some layers are taken from entries with all layers where there are any; all others have these layers alone.
    """
    entries: dict[Audio, Entry] = {}
    if layers is not None and request.reduction == "frames":
        stored = work.entries(pieces)
        entries = {piece.audio: stored[piece.key] for piece in pieces if piece.key in stored}
        request = replace(request, passing=replace(request.passing, layers=layers))
        pieces = work.pieces(request, [piece.audio for piece in pieces if piece.key not in stored])
    return request, pieces, entries


def means(extraction: Extraction, audios: Sequence[Audio]) -> Tensor:
    """Returns the means of `audios` as one (item, layer, dim) float32 tensor."""
    gathered = torch.empty(len(audios), *extraction[audios[0]].shape[1:])
    for places, values in extraction.means_in_parts(audios, slice(None)):
        gathered[places] = values
    return gathered
