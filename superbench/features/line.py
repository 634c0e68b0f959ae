"""Three stages at once: the next batches are decoded, the model computes one, and complete shards are written.

Each stage waits for the one before it, and memory is bounded: see `BATCHES_AHEAD` for decoded sound, `PENDING_BYTES` for
features that wait for the disk.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import NoReturn

import torch

from superbench.errors import BadAudio, SuperbenchError
from superbench.features.decoding import Decoder, decoded
from superbench.features.forward import Padded
from superbench.features.quantized import Rows
from superbench.features.sharding import Batches, Piece, Request, seconds_of
from superbench.features.store import Addition, Store
from superbench.features.transfer import transfer_of
from superbench.system.devices import require_device
from superbench.system.memory import give_back

WRITERS = 4
"""The most threads that write shards; a shard is hashed too, which takes longer than a fast disk."""
PENDING_BYTES = 2 * 64 * 2**20
"""Bytes of features that may wait to be written, in addition to one shard."""

FREED_BYTES = 2**25
"""Bytes of stored features after which free memory goes back to the system. Not after each shard of means, which are small: the
next sounds would get new pages, which the kernel fills with zeros, in place of those of the last ones."""


@dataclass(slots=True, eq=False)
class OpenShard:
    """A shard on its way: its batches, the features of those that passed, and what is released when it is stored."""

    name: str
    batches: Batches
    lock: contextlib.ExitStack
    values: list[Rows] = field(default_factory=list)
    passed: int = 0


class Line:
    """Passes shards through the model of a request, one after the other, and stores them.

    `passed` is called with the seconds of each batch that has passed through the model, `stored` with each shard. Use it as a
    context manager: at the end everything is stored; after an error, what had passed completely is stored.
    """

    def __init__(
        self, store: Store, request: Request, passed: Callable[[float], None], stored: Callable[[OpenShard], None]
    ) -> None:
        self.store, self.request, self.passed, self.stored = store, request, passed, stored
        self.decoder = Decoder(store.readers, request.device, request.padded)
        self._transfer = transfer_of(request.device)
        self._open: list[OpenShard] = []
        self._freed = 0
        self._waiting: deque[tuple[OpenShard, list[Piece]]] = deque()
        self._computing: deque[tuple[OpenShard, list[Piece], Callable[[], list[Rows]]]] = deque()
        self._writing: deque[tuple[OpenShard, Addition, Future[None]]] = deque()
        self._writers = ThreadPoolExecutor(min(store.readers, WRITERS), "writer")

    def put(self, shard: OpenShard) -> None:
        """Passes shards through the model as long as enough sound is decoded ahead; `flush` passes the rest.

        Only sound of these shards is decoded, so that their attempts tell where a process died. Raises errors of all of them.
        """
        self._open.append(shard)
        self._waiting.extend((shard, batch) for batch in shard.batches)
        self.decoder.expect(shard.batches)
        while self._waiting and not self.decoder.is_short:
            self._pass_next()

    def _pass_next(self) -> None:
        """Passes the next batch through the model."""
        shard, batch = self._waiting.popleft()
        self._computing.append((shard, batch, self._begun(self.decoder.take())))
        while len(self._computing) > self._transfer.depth:
            self._finish_first()

    def _begun(self, inputs: Padded) -> Callable[[], list[Rows]]:
        """Queues a batch, and returns the function that finishes it. If the batch does not fit into memory beside the batch
        before, it is queued after that one has ended. An exception of the model is raised when the batch is finished."""
        try:
            try:
                return self.request.begin(inputs, self._transfer, alone=not self._computing).finish
            except torch.OutOfMemoryError:
                self._finish_all()
                return self.request.begin(inputs, self._transfer, alone=True).finish
        except SuperbenchError:
            raise
        except Exception as error:
            return partial(_raise, error)

    def _finish_all(self) -> None:
        while self._computing:
            self._finish_first()

    def _finish_first(self) -> None:
        shard, batch, finish = self._computing[0]
        shard.values += self._finished(batch, finish)
        self._computing.popleft()
        shard.passed += 1
        self.passed(seconds_of([batch]))
        self._store_written()
        if shard.passed == len(shard.batches):
            self._write(shard)

    def _finished(self, batch: Sequence[Piece], finish: Callable[[], list[Rows]]) -> list[Rows]:
        """Returns the features of a batch. If the model raises an exception, it is computed again; if that fails too, the
        error names the sound (see `Request.computed`)."""
        try:
            return finish()
        except SuperbenchError:
            raise
        except Exception as error:
            require_device(error)
            audios = [piece.audio for piece in batch]
            return self.request.computed(decoded(audios), audios)

    def _write(self, shard: OpenShard) -> None:
        """Starts to write a shard; waits until earlier ones leave room for it."""
        self._require_unchanged(shard)
        self.store.use([shard.name])  # pinned, so that it is not evicted before it is read
        size = sum(value.nbytes for value in shard.values)
        while self._writing and sum(addition.nbytes for _, addition, _ in self._writing) + size > PENDING_BYTES:
            self._store_first()
        keys = [piece.key for batch in shard.batches for piece in batch]
        addition = self.store.begin(shard.name, keys, shard.values)
        self._writing.append((shard, addition, self._writers.submit(addition.write)))

    def _store_written(self) -> None:
        """Stores the shards that are written, without waiting for others."""
        while self._writing and self._writing[0][2].done():
            self._store_first()

    def _require_unchanged(self, shard: OpenShard) -> None:
        """Raises `BadAudio` if a file changed after its digest was computed: its features would belong to other sound."""
        pieces = [piece for batch in shard.batches for piece in batch]
        for piece, sound in zip(pieces, self.store.sounds([piece.audio.path for piece in pieces]), strict=True):
            if sound.digest != piece.digest:
                raise BadAudio(f"{piece.audio.path} was changed while the run was reading it. Run the same command again.")

    def _store_first(self) -> None:
        """Waits until the first shard is written, and enters it into the index."""
        shard, addition, writing = self._writing[0]
        writing.result()
        self.store.commit(addition)
        self._writing.popleft()
        self.store.end(addition)
        shard.lock.close()
        self._open.remove(shard)
        self.stored(shard)
        self._freed += addition.nbytes
        if self._freed >= FREED_BYTES:
            self._freed = 0
            give_back()

    def flush(self) -> None:
        """Waits until all shards are stored. Do this before waiting for the lock of another process, which could be waiting for
        one that is held here."""
        while self._waiting:
            self._pass_next()
        self._finish_all()
        while self._writing:
            self._store_first()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._close(keeping=kind is None or issubclass(kind, Exception))

    def _close(self, *, keeping: bool) -> None:
        """Ends the threads, and releases the locks; `keeping`: shards that are being written are stored, unless that fails."""
        self.decoder.close()
        self._writers.shutdown(cancel_futures=not keeping)
        for shard, addition, writing in self._writing:
            with contextlib.suppress(SuperbenchError):
                if keeping and writing.exception() is None:
                    self.store.commit(addition)
                    self.stored(shard)
            self.store.end(addition)
        for shard in self._open:
            shard.lock.close()


def _raise(error: Exception) -> NoReturn:
    raise error
