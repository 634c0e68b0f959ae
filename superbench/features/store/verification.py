"""Verifies a feature store: all bytes are read and hashed, whatever the stamps are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from superbench.errors import StoreError
from superbench.features.store.eviction import strangers
from superbench.features.store.index import SEALED, Index
from superbench.features.store.shard import Damaged, Written, header, place, proved
from superbench.system.progress import Reporter

State = Literal["whole", "damaged", "stray"]


@dataclass(frozen=True, slots=True)
class ShardState:
    """The state of a shard: `whole`; `damaged`, with the reason; `stray`: a file that is not in the index."""

    shard: str
    state: State
    message: str


def verify(root: Path, index: Index, reporter: Reporter) -> Iterator[ShardState]:
    """Checks every shard, then searches for lost entries and stray files. Other processes may write meanwhile."""
    shards = index.rows("SELECT name, bytes, checksum FROM shards ORDER BY name")
    extent = "SELECT shard, max(start + rows), count(*) FROM entries GROUP BY shard"
    extents = {row[0]: row[1:] for row in index.rows(extent)}
    total, done = sum(row[1] for row in shards), 0
    for name, size, digest in shards:
        try:
            current, message = _examined(place(root, name), Written(size, digest, None), *extents.get(name, (0, 0)))
            remember(index, name, current)
            yield ShardState(name, "whole", message)
        except Damaged as error:
            if index.rows(
                "SELECT 1 FROM shards WHERE name = ? AND checksum = ?", (name, digest)
            ):  # else it was evicted meanwhile
                yield ShardState(name, "damaged", f"{place(root, name)} is damaged: {error}")
        done += size
        reporter.advance("verify", done, total)
    lost = index.rows("SELECT shard, count(*) FROM entries WHERE shard NOT IN (SELECT name FROM shards) GROUP BY shard")
    for name, count in lost:
        yield ShardState(name, "damaged", f"{count} entries point to the shard {name}, which is not in the index")
    for table in SEALED:
        if damaged := index.false(table):
            yield ShardState(table, "damaged", f"{len(damaged)} rows of {table} in the index are damaged")
    with index.transaction():  # no process is adding or removing a shard now
        unknown = strangers(root, index)
    for path in unknown:
        yield ShardState(path.stem, "stray", f"{path} is not in the index; `superbench store gc` removes it")


def _examined(path: Path, known: Written, last: int, entries: int) -> tuple[str, str]:
    """Returns the stamp of an undamaged shard, and a description of its contents; raises `Damaged`."""
    current = proved(path, known, hashing=True)
    kind, count = header(path)
    if last > count:
        raise Damaged(f"it has {count} rows, the index expects {last}")
    return current, f"{entries} entries, {count} rows in {kind}, {known.bytes} bytes"


def remember(index: Index, name: str, current: str) -> None:
    """Writes the stamp of a verified shard to the index. If this fails, the shard is hashed again next time."""
    with contextlib.suppress(StoreError):
        index.write("UPDATE shards SET checked = ? WHERE name = ?", [(current, name)])
