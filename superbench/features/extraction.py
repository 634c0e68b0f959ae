"""Through the frozen model once: every piece of sound that is not in the store yet.

The whole request is planned up front (see `sharding`), and done shard by shard; several processes share it.
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
Moment = tuple[int, ...]
"""When a training batch is read: (update, micro-batch). Fresh crops are drawn from it alone."""


@dataclass(slots=True)
class Extraction:
    """Features of a request: in the store, or made when they are read. And what it took.

    Seconds are of sound, but for `work_seconds`. `entries` holds what is stored; the rest passes through the model at every
    reading: fresh crops, and all of it where frames are not kept. With `layer`, reading gives that hidden state alone, and
    frames are stored of it alone. What was stored before `since` (Unix time) is made again. `padded`: where batches of frames
    are laid.
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
    _coming: dict[tuple[Moment, int], Future[Tensor]] = field(default_factory=dict)
    _readers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(READERS))

    def read(self, audios: Sequence[Audio], moment: Moment = ()) -> list[Tensor]:
        """Features (rows, layer, dim) of each piece: one row where means are kept, else one for each frame.

        What is not stored goes through the model now, in one padded batch where it fits.
        """
        live = [i for i, audio in enumerate(audios) if audio not in self.entries]
        made = dict(zip(live, self._pass([audios[i] for i in live], moment), strict=True))
        rows = [made[i] if i in made else self.store.read(self.entries[audio]) for i, audio in enumerate(audios)]
        return (
            rows if self.layer is None else [one if one.shape[1] == 1 else one[:, self.layer : self.layer + 1] for one in rows]
        )

    def expect(self, audios: Sequence[Audio], moment: Moment) -> None:
        """Sound that a reading at `moment` will want: decoded meanwhile."""
        live = [audio for audio in audios if audio not in self.entries]
        self._coming = {(moment, i): self._load(audio, moment, i) for i, audio in enumerate(live)}

    def _load(self, audio: Audio, moment: Moment, place: int) -> Future[Tensor]:
        return self._readers.submit(load, audio, np.random.default_rng([1337, *moment, place]) if moment else None)

    def _pass(self, audios: Sequence[Audio], moment: Moment) -> list[Tensor]:
        if not audios:
            return []
        coming = [self._coming.get((moment, i)) or self._load(audio, moment, i) for i, audio in enumerate(audios)]
        waves = [one.result() for one in coming]
        self.passed_seconds += sum(len(wave) for wave in waves) / SAMPLE_RATE
        order = sorted(range(len(waves)), key=lambda i: -len(waves[i]))
        rows: dict[int, Tensor] = {}
        for some in fitting(order, lambda i: len(waves[i]), BATCH_SAMPLES[self.request.device]):
            batch = [waves[i] for i in some], [audios[i] for i in some]
            rows |= zip(some, _passed(self.request, *batch), strict=True)
        return [rows[i] for i in range(len(waves))]

    def __getitem__(self, audio: Audio) -> Tensor:
        """Features (rows, layer, dim) of one piece."""
        return self.read([audio])[0]

    def check_steady(self) -> None:
        """Raises `BadUpstream` for a model that has changed while sound passed through it; what it made is dropped."""
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
        """How many layers a reading gives."""
        return self.request.upstream.layers if self.layer is None else 1

    def samples(self, audio: Audio) -> int:
        """Length of a piece, samples at 16 kHz, before trimming; of a fresh crop, its own."""
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
    """Features of `audios`, from the store or through the model; raises `BadAudio`, `BadUpstream`, `StoreError`.

    `live` pieces are not stored: they pass when they are read (frames that are too many to store), as do fresh crops of sound
    that is longer than the crop. With `layer`, frames are stored of that hidden state alone, but for those whose every layer is
    stored already. What was stored before `since` (Unix time), or before the model's outputs were kept, is made again.
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
        whole = _held(result, fixed, reporter)
        result.entries = {piece.audio: whole[piece.key] for piece in fixed if piece.key in whole}
        result.request = replace(result.request, passing=replace(passing, layer=layer))
        fixed = _pieces(result, [piece.audio for piece in fixed if piece.key not in whole])
    _make(result, fixed, reporter)
    found = _held(result, fixed, reporter)
    result.entries |= {piece.audio: found[piece.key] for piece in fixed}
    result.work_seconds = time.perf_counter() - began
    return result


def _pieces(result: Extraction, audios: Sequence[Audio]) -> list[Piece]:
    return result.request.pieces(audios, result.store.sounds([audio.path for audio in audios]))


def _make(result: Extraction, pieces: Sequence[Piece], reporter: Reporter) -> None:
    """Those pieces into the store that are not there yet."""
    store = result.store
    shards = list(result.request.shards(pieces))
    stored = _held(result, pieces, reporter)
    present = store.use(name for name, _ in shards)  # what is about to be computed must not evict them
    if incomplete := [name for name, batches in shards if name in present and _lacking(store, batches)]:
        store.forget_older(incomplete, math.inf)  # the index lost rows of it: all of it is computed again, in the same batches
        stored = _held(result, pieces, reporter)
    total = sum(piece.samples for piece in pieces) / SAMPLE_RATE
    missing = [(name, wanted) for name, batches in shards if (wanted := unlike(batches, stored))]
    done = total - sum(seconds_of(batches) for _, batches in missing)
    busy: list[tuple[str, Batches]] = []
    for patient in (False, True):  # shards that another process is making are left for the end, then waited for
        for name, batches in missing if not patient else busy:
            with store.working_on(name, wait=patient) as mine:
                if not mine:
                    busy.append((name, batches))
                    continue
                if wanted := _lacking(store, batches):
                    _run(result, name_of(wanted), wanted, _advance(reporter, done, total))
                    result.passed_seconds += seconds_of(wanted)
            done += seconds_of(batches)
            reporter.advance("extract", done, total)


def _held(result: Extraction, pieces: Sequence[Piece], reporter: Reporter) -> dict[bytes, Entry]:
    """What is stored of the pieces, in shards that are whole and stay as long as this process needs them."""
    store, keys = result.store, [piece.key for piece in pieces]
    found = store.find(keys)
    if older := store.forget_older({entry.shard for entry in found.values()}, result.since):
        reporter.note(f"{older} shards of stored features are older than the run or model that asks; their sound passes again")
        found = store.find(keys)
    shards = {entry.shard for entry in found.values()}
    whole = store.use(shards)
    for remark in store.remarks():
        reporter.note(remark)
    if lost := sorted(shards - whole):
        reporter.note(f"stored features were damaged or gone ({len(lost)} of {len(shards)} shards); their sound passes again")
    return {key: entry for key, entry in found.items() if entry.shard in whole}


def _lacking(store: Store, batches: Batches) -> Batches:
    """The batches without what the store's index lists."""
    return unlike(batches, store.find([piece.key for batch in batches for piece in batch]))


def _advance(reporter: Reporter, before: float, total: float) -> Callable[[float], None]:
    return lambda part: reporter.advance("extract", before + part, total)


def _run(result: Extraction, name: str, batches: Batches, advance: Callable[[float], None]) -> None:
    """One shard through the model; the next batch is decoded while this one is computed."""
    keys: list[bytes] = []
    values: list[Tensor] = []
    passed = 0.0
    with ThreadPoolExecutor(READERS) as readers:
        pending = [[readers.submit(load, piece.audio) for piece in batch] for batch in batches[:2]]
        for number, batch in enumerate(batches):
            waves = [future.result() for future in pending.pop(0)]
            if number + 2 < len(batches):
                pending.append([readers.submit(load, piece.audio) for piece in batches[number + 2]])
            keys += [piece.key for piece in batch]
            values += _passed(result.request, waves, [piece.audio for piece in batch])
            passed += sum(len(wave) for wave in waves) / SAMPLE_RATE
            advance(passed)
    _unchanged(result.store, [piece for batch in batches for piece in batch])
    result.store.use([name])  # so that nothing makes it go before it is read
    result.store.add(name, keys, values)
    del values, waves
    give_back()


def _passed(request: Request, waves: list[Tensor], audios: list[Audio]) -> list[Tensor]:
    return forward(request.upstream, waves, audios, request.reduction, request.device, request.passing)


def _unchanged(store: Store, pieces: Sequence[Piece]) -> None:
    """Raises `BadAudio` for a file that was exchanged after its digest was taken: its features would belong to other sound."""
    for piece, sound in zip(pieces, store.sounds([piece.audio.path for piece in pieces]), strict=True):
        if sound.digest != piece.digest:
            raise BadAudio(f"{piece.audio.path} was changed while the run was reading it. Run the same command again.")


def means(extraction: Extraction, audios: Sequence[Audio]) -> Tensor:
    """Stored means of `audios` as one (item, layer, dim) float32 tensor."""
    first = extraction[audios[0]]
    gathered = np.empty((len(audios), *first.shape[1:]), np.float32)
    for i, audio in enumerate(audios):
        gathered[i] = extraction[audio][0].numpy()
    return torch.from_numpy(gathered)
