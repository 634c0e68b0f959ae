"""Computes and stores the features of a request, shard by shard. Several processes can share the work."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from superbench.contract import SAMPLE_RATE, Audio
from superbench.features.attempts import Attempt
from superbench.features.decoding import decoded
from superbench.features.line import Line, OpenShard
from superbench.features.sharding import Batches, Piece, Request, name_of, seconds_of, unlike
from superbench.features.store import Entry, Store
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
        done = total

        def advance(seconds: float) -> None:
            nonlocal done
            done += seconds
            self.reporter.advance("extract", done, total)

        if missing:
            advance(-sum(seconds_of(batches) for _, batches in missing))
        with self._line(request, advance) as line:
            busy: list[tuple[str, Batches]] = []
            for wait in (False, True):  # first skip shards that other processes compute, then wait for them
                for name, batches in missing if not wait else busy:
                    if wait:
                        line.flush()
                    if not self._put(line, name, batches, advance, wait=wait):
                        busy.append((name, batches))
        if missing:
            self.reporter.advance("extract", total, total)

    def contribute(self, request: Request, pieces: Sequence[Piece]) -> list[str]:
        """Computes and stores shards of the request on which no other process works, from the last to the first; returns their
        names. The process that needs them all computes them from the first to the last."""
        made: list[str] = []
        with self._line(request, lambda _: None, made) as line:
            for name, batches in reversed(self._missing(request, pieces)):
                self._put(line, name, batches, lambda _: None)
        return made

    def _put(self, line: Line, name: str, batches: Batches, advance: Callable[[float], None], *, wait: bool = False) -> bool:
        """Computes what is missing of a shard; returns False if another process, or an earlier shard, holds its lock."""
        with contextlib.ExitStack() as unless_put:
            if not unless_put.enter_context(self.store.working_on(name, wait=wait)):
                return False
            absent = self._lacking(batches)
            if absent != batches:
                advance(seconds_of(batches) - seconds_of(absent))
            if absent:
                attempt = unless_put.enter_context(self.store.attempts.at(name_of(absent)))
                if attempt.careful:
                    line.flush()  # what this process dies of from here on is in this shard
                attempt.require_harmless(line.request.upstream.alias)
                if attempt.careful:
                    self._try_each(line.request, absent, attempt)
                line.put(OpenShard(name_of(absent), absent, unless_put.pop_all()))
                if attempt.careful:
                    line.flush()
            return True

    def _try_each(self, request: Request, batches: Batches, attempt: Attempt) -> None:
        """Passes each sound through the model alone, and records it before. If this process dies, the next one names it."""
        self.reporter.note("processes died at a shard of features; each of its sounds is tried alone, to find the one")
        for piece in (piece for batch in batches for piece in batch):
            attempt.now("decode", piece.audio.path)
            waves = decoded([piece.audio])
            attempt.now("model", piece.audio.path)
            request.computed(waves, [piece.audio])
        attempt.now("batch", batches[0][0].audio.path)

    def _line(self, request: Request, passed: Callable[[float], None], made: list[str] | None = None) -> Line:
        def stored(shard: OpenShard) -> None:
            self.passed_seconds += seconds_of(shard.batches)
            if made is not None:
                made.append(shard.name)

        return Line(self.store, request, passed, stored)

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
