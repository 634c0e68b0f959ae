"""Is every stored feature what was written? All bytes are read and hashed; no stamp is trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from superbench.errors import StoreError
from superbench.features.eviction import strangers
from superbench.features.index import Index
from superbench.features.shard import Damaged, Written, opened, place, proved
from superbench.reporting import Reporter

State = Literal["whole", "damaged", "stray"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of a shard: `whole`; `damaged`, and why; `stray`, a file that the index does not know."""

    shard: str
    state: State
    message: str


def verify(root: Path, index: Index, reporter: Reporter) -> Iterator[Finding]:
    """Look at every shard, then for entries and files that belong to none. Other processes may go on writing."""
    shards = index.rows("SELECT name, bytes, checksum FROM shards ORDER BY name")
    total, done = sum(row[1] for row in shards), 0
    for name, size, digest in shards:
        try:
            seen, message = _examined(root, index, name, Written(size, digest, None))
            remember(index, name, seen)
            yield Finding(name, "whole", message)
        except Damaged as error:
            if index.rows("SELECT 1 FROM shards WHERE name = ? AND checksum = ?", (name, digest)):  # not evicted meanwhile
                yield Finding(name, "damaged", f"{place(root, name)} is damaged: {error}")
        done += size
        reporter.advance("verify", done, total)
    lost = index.rows("SELECT shard, count(*) FROM entries WHERE shard NOT IN (SELECT name FROM shards) GROUP BY shard")
    for name, count in lost:
        yield Finding(name, "damaged", f"{count} entries point to the shard {name}, which the index does not know")
    with index.transaction():  # nobody is between the file and the index now
        unknown = strangers(root, index)
    for path in unknown:
        yield Finding(path.stem, "stray", f"{path} stands in no index; `superbench store gc` removes it")


def _examined(root: Path, index: Index, name: str, known: Written) -> tuple[str, str]:
    """The stamp of a whole shard, and what is in it; raises `Damaged`."""
    path = place(root, name)
    seen = proved(path, known, hashing=True)
    rows = opened(path, "np").get_shape()[0]
    [(last, count)] = index.rows("SELECT max(start + rows), count(*) FROM entries WHERE shard = ?", (name,))
    if (last or 0) > rows:
        raise Damaged(f"it has {rows} rows, the index expects {last}")
    return seen, f"{count} entries, {rows} rows, {known.bytes} bytes"


def remember(index: Index, name: str, seen: str) -> None:
    """Keep the stamp of a shard that was found whole; where that cannot be written, it is hashed again next time."""
    with contextlib.suppress(StoreError):
        index.write("UPDATE shards SET checked = ? WHERE name = ?", [(seen, name)])
