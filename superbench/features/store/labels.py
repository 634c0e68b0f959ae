"""The names of the models and tasks that used a shard, for `superbench store ls`. Features are found without them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from superbench.errors import StoreError
from superbench.features.store.index import Index
from superbench.system.locks import uses_leases

TABLE = "CREATE TABLE IF NOT EXISTS labels (shard TEXT, model TEXT, task TEXT, PRIMARY KEY (shard, model, task)) WITHOUT ROWID"
Labels = dict[str, tuple[set[str], set[str]]]
"""Shard -> models, tasks."""


@contextlib.contextmanager
def index_at(root: Path) -> Iterator[Index]:
    """Opens the index of a store that exists."""
    index = Index(root / "index.sqlite", leases=uses_leases(root))
    try:
        yield index
    finally:
        index.close()


def label(root: Path, shards: Iterable[str], model: str, task: str) -> None:
    """Notes that a model and a task used these shards, and forgets the names of shards that are gone. A store that cannot be
    written keeps no names."""
    with contextlib.suppress(StoreError), index_at(root) as index:
        add_labels(index, [(shard, model, task) for shard in sorted(set(shards))])


def add_labels(index: Index, rows: list[tuple[str, str, str]]) -> None:
    """Adds rows of shard, model and task."""
    with index.transaction():
        index.ensure(TABLE)
        index.write("INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", rows)
        index.write("DELETE FROM labels WHERE shard NOT IN (SELECT name FROM shards)", [()])


def labels(index: Index) -> Labels:
    """Returns the models and tasks of each shard that has any."""
    if not index.rows("SELECT 1 FROM sqlite_master WHERE name = 'labels'"):
        return {}
    found: Labels = {}
    for shard, model, task in index.rows("SELECT shard, model, task FROM labels ORDER BY 1, 2, 3"):
        models, tasks = found.setdefault(shard, (set(), set()))
        models.add(model)
        tasks.add(task)
    return found
