"""What the readers of a served board get: its page and its data as JSON, drawn by a worker when the board has changed."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superbench.board.server.worker_client import WorkerClient
from superbench.board.storage.base import Storage

RENDERING_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Document:
    """A document for readers: its bytes, the compressed bytes, and a tag that changes with the bytes."""

    data: bytes
    packed: bytes
    tag: str

    @classmethod
    def of(cls, data: bytes) -> Document:
        """Compresses the bytes once, not for each reader."""
        return cls(data, gzip.compress(data, 6, mtime=0), f'"{hashlib.sha256(data).hexdigest()[:24]}"')


class DrawnPage:
    """The page, the table as JSON, and the table's `contents`. Workers write them into files in `folder`."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self.page = self.table = Document.of(b"")
        self.contents: Mapping[str, Any] = {"groups": []}
        self._storage, self._folder = storage, folder
        self._drawn: object = None
        self._drawing = asyncio.Lock()

    async def update(self, worker: WorkerClient) -> None:
        """Draws everything again if the board has changed, one drawing at a time; readers get the old documents until then.

        When this returns, readers get every bundle that was accepted before the call. Raises `SuperbenchError`.
        """
        async with self._drawing:
            state = await asyncio.to_thread(self._state_of_board)
            if state == self._drawn:
                return
            await worker.ask("render", RENDERING_SECONDS, folder=str(self._folder))
            table = (self._folder / "board.json").read_bytes()
            page = await asyncio.to_thread(Document.of, (self._folder / "page.html").read_bytes())
            self.table = await asyncio.to_thread(Document.of, table)
            self.page, self.contents = page, json.loads(table)
            self._drawn = state

    def _state_of_board(self) -> object:
        """Returns a value that changes when the page must be drawn again."""
        storage = self._storage
        return [stored.digest for stored in storage.bundles()], storage.names("rulings"), storage.names("references")
