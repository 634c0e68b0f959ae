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
from superbench.board.storage.rulings import rulings

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


@dataclass(frozen=True, slots=True)
class View:
    """What a reader gets: the page, the table as JSON, and the table's `contents`."""

    page: Document
    table: Document
    contents: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> View:
        """Reads what a worker wrote into a folder."""
        table = (folder / "board.json").read_bytes()
        return cls(Document.of((folder / "page.html").read_bytes()), Document.of(table), json.loads(table))


class DrawnPage:
    """What everybody gets (`public`), and what members get, who also see hidden rows.

    Workers write it into files in `folder`.
    """

    def __init__(self, storage: Storage, folder: Path) -> None:
        self.public = self.members = View(Document.of(b""), Document.of(b""), {"groups": []})
        self._storage, self._folder = storage, folder
        self._drawn: object = None
        self._drawing = asyncio.Lock()

    @property
    def contents(self) -> Mapping[str, Any]:
        """The contents of the table that everybody gets."""
        return self.public.contents

    async def update(self, worker: WorkerClient) -> None:
        """Draws everything again if the board has changed, one drawing at a time; readers get the old documents until then.

        When this returns, readers get every bundle that was accepted before the call. Raises `SuperbenchError`.
        """
        async with self._drawing:
            state = await asyncio.to_thread(self._state_of_board)
            if state == self._drawn:
                return
            drawn = await worker.ask("render", RENDERING_SECONDS, folder=str(self._folder))
            public = await asyncio.to_thread(View.read, self._folder)
            members = await asyncio.to_thread(View.read, self._folder / "members") if drawn.get("members") else public
            self.public, self.members, self._drawn = public, members, state

    def _state_of_board(self) -> object:
        """Returns a value that changes when the page must be drawn again."""
        storage = self._storage
        return [stored.digest for stored in storage.bundles()], dict(rulings(storage)), storage.names("references")
