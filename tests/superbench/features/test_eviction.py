"""Eviction from the feature store: which shards are removed, which stay, and what dead processes leave."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from superbench.errors import StoreError
from superbench.features.store import Store

NAMES = [f"{number:x}" * 32 for number in range(10)]
ROWS = 1000
BYTES = ROWS * 2 * 17 * 2
"""Bytes of the values of one shard, without its header."""
BUDGET = 3 * BYTES + 1000

USING = """
import sys, time
from pathlib import Path
from superbench.features.store import Store
store = Store(Path(sys.argv[1]))
print(len(store.use(sys.argv[2:])), flush=True)
time.sleep(600)
"""


def key(name: str) -> bytes:
    return bytes.fromhex(name)


def add(store: Store, name: str) -> None:
    value = torch.full((ROWS, 2, 17), int(name[0], 16), dtype=torch.float16)
    store.add(name, [key(name)], [value])


def filled(root: Path, count: int, budget: int | None = None) -> Store:
    store = Store(root, budget)
    for name in NAMES[:count]:
        add(store, name)
    return store


def names(store: Store) -> list[str]:
    return sorted(one.shard for one in store.contents())


def files(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / "shards").rglob("*") if path.is_file())


def owners(root: Path) -> list[int]:
    """The processes that have shards of a store pinned."""
    return [int(path.name.split("-")[1]) for path in (root / "locks").glob("owner-*")]


@contextlib.contextmanager
def a_process_that_uses(root: Path, *shards: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", USING, str(root), *shards], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(len(shards))
        try:
            yield process
        finally:
            process.kill()


def test_the_least_recently_used_make_room_and_the_total_stays_within_the_budget(tmp_path: Path) -> None:
    store = filled(tmp_path, 3, BUDGET)
    store.use(NAMES[:1])
    store.release()
    add(store, NAMES[3])
    assert names(store) == sorted([NAMES[0], NAMES[2], NAMES[3]]) == files(tmp_path)
    assert sum(one.bytes for one in store.contents()) <= BUDGET
    assert not store.find([key(NAMES[1])])
    assert store.read(store.find([key(NAMES[0])])[key(NAMES[0])]).eq(0).all()


def test_a_store_without_a_budget_evicts_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path, 6)
    assert names(store) == NAMES[:6]
    assert store.gc() == []


def test_what_is_pinned_stays_even_over_the_budget(tmp_path: Path) -> None:
    store = filled(tmp_path, 3, BUDGET)
    assert store.use([*NAMES[:3], NAMES[3]]) == set(NAMES[:3])  # the fourth is pinned before it is made
    add(store, NAMES[3])
    add(store, NAMES[4])
    assert names(store) == NAMES[:5]
    assert {one.shard for one in store.contents() if one.pinned} == set(NAMES[:4])
    add(store, NAMES[5])
    assert names(store) == sorted([*NAMES[:4], NAMES[5]])


def test_a_shard_written_anew_does_not_evict_itself_or_others(tmp_path: Path) -> None:
    store = filled(tmp_path, 3, BUDGET)
    add(store, NAMES[0])
    assert names(store) == NAMES[:3]
    assert store.find([key(NAMES[0])])
    add(Store(tmp_path), NAMES[3])  # by somebody without a budget
    store.use(NAMES[1:3])
    add(store, NAMES[0])  # now the least recently used, but that does not make room
    assert names(store) == NAMES[:3]


def test_pins_of_a_living_process_hold_and_those_of_a_killed_one_do_not(tmp_path: Path) -> None:
    store = filled(tmp_path, 3, BUDGET)
    with a_process_that_uses(tmp_path, *NAMES[:2]) as process:
        assert {one.shard for one in store.contents() if one.pinned} == set(NAMES[:2])
        assert [one.name for one in store.gc(0)] == [NAMES[2]]
        add(store, NAMES[3])
        add(store, NAMES[4])
        assert names(store) == sorted([*NAMES[:2], NAMES[4]])
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not any(one.pinned for one in store.contents())
        assert {one.name for one in store.gc(0)} == {*NAMES[:2], NAMES[4]}
    assert files(tmp_path) == []
    assert owners(tmp_path) == [os.getpid()]


def test_a_closed_store_lets_go(tmp_path: Path) -> None:
    with filled(tmp_path, 2) as store:
        store.use(NAMES[:2])
    other = Store(tmp_path)
    assert {one.name for one in other.gc(0)} == set(NAMES[:2])
    assert not list((tmp_path / "locks").glob("owner-*"))


@pytest.mark.slow
def test_pins_of_the_dead_do_not_pile_up_where_nothing_is_evicted(tmp_path: Path) -> None:
    filled(tmp_path, 1).close()
    for _ in range(2):
        with a_process_that_uses(tmp_path, NAMES[0]):
            pass
    Store(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "index.sqlite")) as index:
        assert index.execute("SELECT count(*) FROM pins").fetchall() == [(1,)]


def test_features_at_hand_outlive_their_eviction_and_others_are_said_to_be_gone(tmp_path: Path) -> None:
    reader = filled(tmp_path, 2)
    entries = reader.find([key(name) for name in NAMES[:2]])
    at_hand = reader.read(entries[key(NAMES[1])])
    Store(tmp_path).gc(0)
    assert at_hand.eq(1).all()
    with pytest.raises(StoreError, match=r"were evicted; no running process had pinned them.*[Rr]un the same command again"):
        reader.read(entries[key(NAMES[0])])


def test_gc_says_what_it_removed(tmp_path: Path) -> None:
    store = filled(tmp_path, 4)
    removed = store.gc(2 * BYTES + 1000)
    assert [(one.name, one.reason) for one in removed] == [(name, "least recently used") for name in NAMES[:2]]
    assert all(BYTES < one.bytes < BYTES + 500 for one in removed)
    assert names(store) == NAMES[2:4] == files(tmp_path)


def test_gc_removes_what_no_index_knows_unless_somebody_may_be_writing_it(tmp_path: Path) -> None:
    store = filled(tmp_path, 1)
    known = next((tmp_path / "shards").rglob("*.safetensors"))
    stray, hidden = known.with_name(f"{'0' * 31}1.safetensors"), known.with_name(f".{NAMES[0]}.safetensors.x1")
    for path in (stray, hidden):
        path.write_bytes(b"half")
    with store.working_on(stray.stem, wait=False):  # both begin with 000
        assert Store(tmp_path).gc() == []
        for path in (stray, hidden):
            os.utime(path, (time.time() - 7200,) * 2)
        assert {one.name for one in Store(tmp_path).gc()} == {stray.name, hidden.name}
    stray.write_bytes(b"half")
    assert [(one.name, one.bytes, one.reason) for one in store.gc()] == [(stray.name, 4, "in no index")]
    assert names(store) == NAMES[:1] == files(tmp_path)


def test_gc_removes_the_temporaries_of_dead_writers_only(tmp_path: Path) -> None:
    store = filled(tmp_path, 1)
    (own,) = [path.name for path in (tmp_path / "locks").glob("owner-*")]
    for owner in ("owner-1-dead", own):
        (tmp_path / "writing" / owner).mkdir(parents=True)
        (tmp_path / "writing" / owner / NAMES[1]).write_bytes(b"half")
    assert [(one.name, one.reason) for one in store.gc()] == [(NAMES[1], "left by a dead process")]
    assert [path.name for path in (tmp_path / "writing").iterdir()] == [own]


def test_a_negative_or_fractional_limit_is_refused_by_the_command(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from superbench.cli.app import app

    filled(tmp_path, 2).close()
    assert CliRunner().invoke(app, ["store", "gc", "--store", str(tmp_path), "--gb", "-1"]).exit_code == 2
    assert len(files(tmp_path)) == 2
