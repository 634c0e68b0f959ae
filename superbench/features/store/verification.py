"""Is every stored feature what was written? All bytes are read and hashed; no stamp is trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from superbench.errors import StoreError
from superbench.features.store.eviction import strangers
from superbench.features.store.index import SEALED, Index
from superbench.features.store.shard import Damaged, Written, place, proved, rows
from superbench.system.progress import Reporter

State = Literal["whole", "damaged", "stray"]


@dataclass(frozen=True, slots=True)
class ShardState:
    """What was seen of a shard: `whole`; `damaged`, and why; `stray`, a file that the index does not know."""

    shard: str
    state: State
    message: str


def verify(root: Path, index: Index, reporter: Reporter) -> Iterator[ShardState]:
    """Look at every shard, then for entries and files that belong to none. Other processes may go on writing."""
    shards = index.rows("SELECT name, bytes, checksum FROM shards ORDER BY name")
    extent = "SELECT shard, max(start + rows), count(*) FROM entries GROUP BY shard"
    extents = {row[0]: row[1:] for row in index.rows(extent)}
    total, done = sum(row[1] for row in shards), 0
    for name, size, digest in shards:
        try:
            seen, message = _examined(place(root, name), Written(size, digest, None), *extents.get(name, (0, 0)))
            remember(index, name, seen)
            yield ShardState(name, "whole", message)
        except Damaged as error:
            if index.rows("SELECT 1 FROM shards WHERE name = ? AND checksum = ?", (name, digest)):  # not evicted meanwhile
                yield ShardState(name, "damaged", f"{place(root, name)} is damaged: {error}")
        done += size
        reporter.advance("verify", done, total)
    lost = index.rows("SELECT shard, count(*) FROM entries WHERE shard NOT IN (SELECT name FROM shards) GROUP BY shard")
    for name, count in lost:
        yield ShardState(name, "damaged", f"{count} entries point to the shard {name}, which the index does not know")
    for table in SEALED:
        if false := index.false(table):
            yield ShardState(table, "damaged", f"{len(false)} rows of {table} in the index do not hold what was written")
    with index.transaction():  # nobody is between the file and the index now
        unknown = strangers(root, index)
    for path in unknown:
        yield ShardState(path.stem, "stray", f"{path} stands in no index; `superbench store gc` removes it")


def _examined(path: Path, known: Written, last: int, entries: int) -> tuple[str, str]:
    """The stamp of a whole shard, and what is in it; raises `Damaged`."""
    seen = proved(path, known, hashing=True)
    count = rows(path)
    if last > count:
        raise Damaged(f"it has {count} rows, the index expects {last}")
    return seen, f"{entries} entries, {count} rows, {known.bytes} bytes"


def remember(index: Index, name: str, seen: str) -> None:
    """Keep the stamp of a shard that was found whole; where that cannot be written, it is hashed again next time."""
    with contextlib.suppress(StoreError):
        index.write("UPDATE shards SET checked = ? WHERE name = ?", [(seen, name)])
