"""Extracts features: passes each segment of sound that is not stored yet through the frozen model once.

The complete request is planned first (see `sharding`), and computed shard by shard. Several processes can share the work.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Audio, Reduction
from superbench.data.audio import load
from superbench.errors import BadAudio, BadUpstream
from superbench.features.forward import BATCH_SAMPLES, WHOLE, ForwardOptions, forward
from superbench.features.sharding import Batches, Piece, Request, fitting, name_of, seconds_of, unlike
from superbench.features.store import Entry, Store
from superbench.plugins.reference_outputs import check_steady
from superbench.system.memory import give_back
from superbench.system.progress import Reporter

if TYPE_CHECKING:
    from superbench.plugins import Loaded

READERS = 2
"""Threads that decode sound while the model computes."""
BatchKey = tuple[int, ...]
"""Key of a training batch: (update, micro-batch). It alone seeds the random crops."""


@dataclass(slots=True)
class Extraction:
    """Features of a request, stored or computed at reading, and statistics of the extraction.

    Seconds count sound, except `work_seconds`. `entries` contains the stored features. All other sound passes through the model
    at every reading: fresh crops, and everything if frames are not stored. With `layer`, only that hidden state is returned,
    and only its frames are stored. Features stored before `since` (Unix time) are computed again. `padded`: a buffer for
    batches of frames.
    """

    request: Request
    store: Store
    layer: int | None = None
    since: float = 0.0
    entries: dict[Audio, Entry] = field(default_factory=dict)
    lengths: dict[Audio, int] = field(default_factory=dict)
    rates: dict[int, int] = field(default_factory=dict)
    sound_seconds: float = 0.0
    passed_seconds: float = 0.0
    work_seconds: float = 0.0
    padded: Tensor = field(default_factory=lambda: torch.empty(0))
    _checked_seconds: float = 0.0
    _coming: dict[tuple[BatchKey, int], Future[Tensor]] = field(default_factory=dict)
    _readers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(READERS))

    def read(self, audios: Sequence[Audio], batch: BatchKey = ()) -> list[Tensor]:
        """Returns features (rows, layer, dim) of each segment: one row for means, else one for each frame.

        Sound without stored features passes through the model now, in one padded batch if it fits.
        """
        live = [i for i, audio in enumerate(audios) if audio not in self.entries]
        computed = dict(zip(live, self._pass([audios[i] for i in live], batch), strict=True))
        rows = [computed[i] if i in computed else self.store.read(self.entries[audio]) for i, audio in enumerate(audios)]
        return (
            rows if self.layer is None else [row if row.shape[1] == 1 else row[:, self.layer : self.layer + 1] for row in rows]
        )

    def prefetch(self, audios: Sequence[Audio], batch: BatchKey) -> None:
        """Starts to decode the sound that `read` will need for this batch, in background threads."""
        live = [audio for audio in audios if audio not in self.entries]
        self._coming = {(batch, i): self._load(audio, batch, i) for i, audio in enumerate(live)}

    def _load(self, audio: Audio, batch: BatchKey, position: int) -> Future[Tensor]:
        return self._readers.submit(load, audio, np.random.default_rng([1337, *batch, position]) if batch else None)

    def _pass(self, audios: Sequence[Audio], batch: BatchKey) -> list[Tensor]:
        if not audios:
            return []
        coming = [self._coming.get((batch, i)) or self._load(audio, batch, i) for i, audio in enumerate(audios)]
        waves = [future.result() for future in coming]
        self.passed_seconds += sum(len(wave) for wave in waves) / SAMPLE_RATE
        order = sorted(range(len(waves)), key=lambda i: -len(waves[i]))
        rows: dict[int, Tensor] = {}
        for group in fitting(order, lambda i: len(waves[i]), BATCH_SAMPLES[self.request.device]):
            inputs = [waves[i] for i in group], [audios[i] for i in group]
            rows |= zip(group, _computed(self.request, *inputs), strict=True)
        return [rows[i] for i in range(len(waves))]

    def __getitem__(self, audio: Audio) -> Tensor:
        """Returns features (rows, layer, dim) of one segment."""
        return self.read([audio])[0]

    def close(self) -> None:
        """Ends the threads that decode sound; nothing can be read afterwards that is not stored."""
        self._readers.shutdown(cancel_futures=True)

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
    def layers(self) -> int:
        """Number of layers that `read` returns."""
        return self.request.upstream.layers if self.layer is None else 1

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
    layer: int | None = None,
    passing: ForwardOptions = WHOLE,
    since: float | None = None,
) -> Extraction:
    """Returns features of `audios`, from the store or from the model; raises `BadAudio`, `BadUpstream`, `StoreError`.

    Features of `live` segments are not stored but computed at each reading (if there are too many frames to store), as are
    fresh crops of longer sound. With `layer`, frames are stored only for that hidden state, unless all layers are stored
    already. Features stored before `since` (Unix time), or before the reference outputs of the model, are computed again.
    """
    began = time.perf_counter()
    since = max(since or 0.0, upstream.outputs.since if upstream.outputs else 0.0)
    result = Extraction(Request(upstream, reduction, device, passing), store, layer, since)
    pieces = _pieces(result, list(dict.fromkeys(audios)))
    result.rates = dict(Counter(sound.rate for sound in store.sounds([piece.audio.path for piece in pieces])))
    result.lengths = {piece.audio: piece.samples for piece in pieces}
    result.sound_seconds = sum(piece.samples for piece in pieces) / SAMPLE_RATE
    uncut = (piece for piece in pieces if piece.audio.crop is None or piece.samples < piece.audio.crop)
    fixed = [piece for piece in uncut if piece.audio not in live]
    if layer is not None and reduction == "frames":
        stored = _stored(result, fixed, reporter)
        result.entries = {piece.audio: stored[piece.key] for piece in fixed if piece.key in stored}
        result.request = replace(result.request, passing=replace(passing, layer=layer))
        fixed = _pieces(result, [piece.audio for piece in fixed if piece.key not in stored])
    _make(result, fixed, reporter)
    stored = _stored(result, fixed, reporter)
    result.entries |= {piece.audio: stored[piece.key] for piece in fixed}
    result.work_seconds = time.perf_counter() - began
    return result


def _pieces(result: Extraction, audios: Sequence[Audio]) -> list[Piece]:
    return result.request.pieces(audios, result.store.sounds([audio.path for audio in audios]))


def _make(result: Extraction, pieces: Sequence[Piece], reporter: Reporter) -> None:
    """Computes and stores the features of those segments that are not stored yet."""
    store = result.store
    shards = list(result.request.shards(pieces))
    stored = _stored(result, pieces, reporter)
    present = store.use(name for name, _ in shards)  # what is about to be computed must not evict them
    if incomplete := [name for name, batches in shards if name in present and _lacking(store, batches)]:
        store.forget_older(incomplete, math.inf)  # the index lost rows of it: all of it is computed again, in the same batches
        stored = _stored(result, pieces, reporter)
    total = sum(piece.samples for piece in pieces) / SAMPLE_RATE
    missing = [(name, absent) for name, batches in shards if (absent := unlike(batches, stored))]
    done = total - sum(seconds_of(batches) for _, batches in missing)
    busy: list[tuple[str, Batches]] = []
    for wait in (False, True):  # first skip shards that other processes compute, then wait for them
        for name, batches in missing if not wait else busy:
            with store.working_on(name, wait=wait) as is_locked:
                if not is_locked:
                    busy.append((name, batches))
                    continue
                if absent := _lacking(store, batches):
                    _run(result, name_of(absent), absent, _advance(reporter, done, total))
                    result.passed_seconds += seconds_of(absent)
            done += seconds_of(batches)
            reporter.advance("extract", done, total)


def _stored(result: Extraction, pieces: Sequence[Piece], reporter: Reporter) -> dict[bytes, Entry]:
    """Returns the stored entries of the segments, and pins their shards while this process needs them; drops damaged shards."""
    store, keys = result.store, [piece.key for piece in pieces]
    entries = store.find(keys)
    if older := store.forget_older({entry.shard for entry in entries.values()}, result.since):
        reporter.note(f"{older} shards of stored features are older than this run or model; they are computed again")
        entries = store.find(keys)
    shards = {entry.shard for entry in entries.values()}
    intact = store.use(shards)
    for remark in store.remarks():
        reporter.note(remark)
    if lost := sorted(shards - intact):
        reporter.note(f"stored features were damaged or missing ({len(lost)} of {len(shards)} shards); they are computed again")
    return {key: entry for key, entry in entries.items() if entry.shard in intact}


def _lacking(store: Store, batches: Batches) -> Batches:
    """Returns the batches without what the store's index lists."""
    return unlike(batches, store.find([piece.key for batch in batches for piece in batch]))


def _advance(reporter: Reporter, before: float, total: float) -> Callable[[float], None]:
    return lambda seconds: reporter.advance("extract", before + seconds, total)


def _run(result: Extraction, name: str, batches: Batches, advance: Callable[[float], None]) -> None:
    """Computes and stores one shard. The next batch is decoded while the model computes the current one."""
    keys: list[bytes] = []
    values: list[Tensor] = []
    seconds = 0.0
    with ThreadPoolExecutor(READERS) as readers:
        pending = [[readers.submit(load, piece.audio) for piece in batch] for batch in batches[:2]]
        for number, batch in enumerate(batches):
            waves = [future.result() for future in pending.pop(0)]
            if number + 2 < len(batches):
                pending.append([readers.submit(load, piece.audio) for piece in batches[number + 2]])
            keys += [piece.key for piece in batch]
            values += _computed(result.request, waves, [piece.audio for piece in batch])
            seconds += sum(len(wave) for wave in waves) / SAMPLE_RATE
            advance(seconds)
    _unchanged(result.store, [piece for batch in batches for piece in batch])
    result.store.use([name])  # pinned, so that it is not evicted before it is read
    result.store.add(name, keys, values)
    del values, waves
    give_back()


def _computed(request: Request, waves: list[Tensor], audios: list[Audio]) -> list[Tensor]:
    return forward(request.upstream, waves, audios, request.reduction, request.device, request.passing)


def _unchanged(store: Store, pieces: Sequence[Piece]) -> None:
    """Raises `BadAudio` if a file changed after its digest was computed: its features would belong to other sound."""
    for piece, sound in zip(pieces, store.sounds([piece.audio.path for piece in pieces]), strict=True):
        if sound.digest != piece.digest:
            raise BadAudio(f"{piece.audio.path} was changed while the run was reading it. Run the same command again.")


def means(extraction: Extraction, audios: Sequence[Audio]) -> Tensor:
    """Returns the stored means of `audios` as one (item, layer, dim) float32 tensor."""
    first = extraction[audios[0]]
    gathered = np.empty((len(audios), *first.shape[1:]), np.float32)
    for i, audio in enumerate(audios):
        gathered[i] = extraction[audio][0].numpy()
    return torch.from_numpy(gathered)
