"""Computes and stores the features of a request, shard by shard. Several processes can share the work."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from torch import Tensor

from superbench.contract import SAMPLE_RATE, Audio
from superbench.data.audio import load
from superbench.errors import BadAudio
from superbench.features.attempts import Attempt
from superbench.features.live import READERS
from superbench.features.sharding import Batches, Piece, Request, name_of, seconds_of, unlike
from superbench.features.store import Entry, Store
from superbench.system.memory import give_back
from superbench.system.progress import Reporter


@dataclass(slots=True)
class StoredPass:
    """Passes what is not stored yet through the model, and counts the seconds of sound that passed.

    Features stored before `since` (Unix time) are computed again.
    """

    store: Store
    since: float
    reporter: Reporter
    passed_seconds: float = 0.0

    def pieces(self, request: Request, audios: Sequence[Audio]) -> list[Piece]:
        """Returns the segments of a request, longest first."""
        return request.pieces(audios, self.store.sounds([audio.path for audio in audios]))

    def entries(self, pieces: Sequence[Piece]) -> dict[bytes, Entry]:
        """Returns the stored entries of the segments; pins their shards while this process needs them, drops damaged shards."""
        store, keys = self.store, [piece.key for piece in pieces]
        entries = store.find(keys)
        if older := store.forget_older({entry.shard for entry in entries.values()}, self.since):
            self.reporter.note(f"{older} shards of stored features are older than this run or model; they are computed again")
            entries = store.find(keys)
        shards = {entry.shard for entry in entries.values()}
        intact = store.use(shards)
        for remark in store.remarks():
            self.reporter.note(remark)
        if lost := sorted(shards - intact):
            damaged = f"{len(lost)} of {len(shards)} shards"
            self.reporter.note(f"stored features were damaged or missing ({damaged}); they are computed again")
        return {key: entry for key, entry in entries.items() if entry.shard in intact}

    def compute(self, request: Request, pieces: Sequence[Piece]) -> None:
        """Computes and stores the features of those segments that are not stored yet."""
        missing = self._missing(request, pieces)
        total = sum(piece.samples for piece in pieces) / SAMPLE_RATE
        done = total - sum(seconds_of(batches) for _, batches in missing)
        busy: list[tuple[str, Batches]] = []
        if missing:
            self.reporter.advance("extract", done, total)
        for wait in (False, True):  # first skip shards that other processes compute, then wait for them
            for name, batches in missing if not wait else busy:
                with self.store.working_on(name, wait=wait) as is_locked:
                    if not is_locked:
                        busy.append((name, batches))
                        continue
                    if absent := self._lacking(batches):
                        self._compute_shard(request, absent, self._advance(done, total))
                done += seconds_of(batches)
                self.reporter.advance("extract", done, total)

    def contribute(self, request: Request, pieces: Sequence[Piece]) -> list[str]:
        """Computes and stores shards of the request on which no other process works, from the last to the first; returns their
        names. The process that needs them all computes them from the first to the last."""
        made = []
        for name, batches in reversed(self._missing(request, pieces)):
            with self.store.working_on(name, wait=False) as is_locked:
                if is_locked and (absent := self._lacking(batches)):
                    self._compute_shard(request, absent, lambda _: None)
                    made.append(name)
        return made

    def _missing(self, request: Request, pieces: Sequence[Piece]) -> list[tuple[str, Batches]]:
        """Returns the shards of the request by name, without the segments that are stored; they will not be evicted."""
        shards = list(request.shards(pieces))
        stored = self.entries(pieces)
        present = self.store.use(name for name, _ in shards)  # what is about to be computed must not evict them
        if incomplete := [name for name, batches in shards if name in present and self._lacking(batches)]:
            self.store.forget_older(incomplete, math.inf)  # the index lost rows of it: computed again, in the same batches
            stored = self.entries(pieces)
        return [(name, absent) for name, batches in shards if (absent := unlike(batches, stored))]

    def _lacking(self, batches: Batches) -> Batches:
        """Returns the batches without what the store's index lists."""
        return unlike(batches, self.store.find([piece.key for batch in batches for piece in batch]))

    def _advance(self, before: float, total: float) -> Callable[[float], None]:
        return lambda seconds: self.reporter.advance("extract", before + seconds, total)

    def _compute_shard(self, request: Request, batches: Batches, advance: Callable[[float], None]) -> None:
        """Computes and stores one shard. The next batch is decoded while the model computes the current one."""
        with self.store.attempts.at(name_of(batches)) as attempt:
            attempt.require_harmless(request.upstream.alias)
            if attempt.careful:
                self._try_each(request, batches, attempt)
            self._compute_batches(request, batches, advance)

    def _try_each(self, request: Request, batches: Batches, attempt: Attempt) -> None:
        """Passes each sound through the model alone, and records it before. If this process dies, the next one names it."""
        self.reporter.note("processes died at a shard of features; each of its sounds is tried alone, to find the one")
        for piece in (piece for batch in batches for piece in batch):
            attempt.now("decode", piece.audio.path)
            wave = load(piece.audio)
            attempt.now("model", piece.audio.path)
            request.computed([wave], [piece.audio])
        attempt.now("batch", batches[0][0].audio.path)

    def _compute_batches(self, request: Request, batches: Batches, advance: Callable[[float], None]) -> None:
        name, keys = name_of(batches), [piece.key for batch in batches for piece in batch]
        values: list[Tensor] = []
        seconds = 0.0
        with ThreadPoolExecutor(READERS) as readers:
            pending = [[readers.submit(load, piece.audio) for piece in batch] for batch in batches[:2]]
            for number, batch in enumerate(batches):
                waves = [future.result() for future in pending.pop(0)]
                if number + 2 < len(batches):
                    pending.append([readers.submit(load, piece.audio) for piece in batches[number + 2]])
                values += request.computed(waves, [piece.audio for piece in batch])
                seconds += sum(len(wave) for wave in waves) / SAMPLE_RATE
                advance(seconds)
        self._require_unchanged([piece for batch in batches for piece in batch])
        self.store.use([name])  # pinned, so that it is not evicted before it is read
        self.store.add(name, keys, values)
        del values, waves
        give_back()
        self.passed_seconds += seconds_of(batches)

    def _require_unchanged(self, pieces: Sequence[Piece]) -> None:
        """Raises `BadAudio` if a file changed after its digest was computed: its features would belong to other sound."""
        for piece, sound in zip(pieces, self.store.sounds([piece.audio.path for piece in pieces]), strict=True):
            if sound.digest != piece.digest:
                raise BadAudio(f"{piece.audio.path} was changed while the run was reading it. Run the same command again.")
