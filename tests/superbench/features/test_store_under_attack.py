"""Faults of a feature store and their messages: damage, full and read-only disks, two writers, killed processes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError
from typer.testing import CliRunner, Result

from superbench.cli.app import app
from superbench.errors import StoreError
from superbench.features.store import Entry, Store
from superbench.system.files import save_tensors

NAME, OTHER = "ab" * 16, "cd" * 16
KEYS = [bytes([number]) * 16 for number in range(4)]
VALUES = [torch.full((100, 2, 17), float(number)) for number in range(4)]

WRITING = """
import os, signal, sys
from pathlib import Path
import torch
from superbench.features.store import Store
name, keys = "ab" * 16, [bytes([number]) * 16 for number in range(4)]
values = [torch.full((100, 2, 17), float(number)) for number in range(4)]
store = Store(Path(sys.argv[1]))
store.use([name])
print("ready", flush=True)
sys.stdin.readline()
"""
MANY_TIMES = "for _ in range(8): store.add(name, keys, values)"
KILLED_BEFORE_ITS_ROW = """
replace = os.replace
def last(source, target):
    replace(source, target)
    if str(target).endswith(name + ".safetensors"):
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = last
store.add(name, keys, values)
"""
OPENING = """
import sys
from pathlib import Path
from superbench.features.store import Store
Store(Path(sys.argv[1])).use(["ab"])
"""
LISTING = """
import sys
from pathlib import Path
from superbench.cli.store import ls
ls(Path(sys.argv[1]))
print("torch" in sys.modules)
"""


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The connections to SQLite that are opened from now on; what a disk refuses, a connection can refuse."""
    made: list[sqlite3.Connection] = []
    real = sqlite3.connect

    def kept(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made.append(real(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", kept)
    return made


def add(store: Store, name: str = NAME) -> None:
    store.add(name, KEYS, VALUES)


def shard(root: Path, name: str = NAME) -> Path:
    return root / "shards" / name[:2] / f"{name}.safetensors"


def filled(root: Path) -> Store:
    store = Store(root)
    add(store)
    return store


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        byte = file.read(1)
        file.seek(-5, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))


def entry(store: Store, key: bytes = KEYS[1]) -> Entry:
    return store.find([key])[key]


def holds_everything(store: Store) -> bool:
    entries = store.find(KEYS)
    same = (torch.equal(store.read(entries[key]), value) for key, value in zip(KEYS, VALUES, strict=True))
    return len(entries) == len(KEYS) and all(same)


def writer(root: Path, act: str) -> subprocess.Popen[str]:
    """Starts a process that waits for a line of input before it continues."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING + act, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline() == "ready\n"
    return process


def go_on(process: subprocess.Popen[str]) -> None:
    """Sends the line that a writer waits for."""
    assert process.stdin is not None
    with process.stdin as lines:
        lines.write("\n")


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["store", *map(str, arguments)])


# ---------------------------------------------------------------- damage


def cut(path: Path) -> None:
    os.truncate(path, 1000)


def cut_to_nothing(path: Path) -> None:
    os.truncate(path, 0)


DAMAGES = [
    (flip, "its bytes are not those that were written"),
    (cut, r"it has 1000 bytes, 54\d+ were written"),
    (cut_to_nothing, "it has 0 bytes"),
    (Path.unlink, "the file is not there"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES)
def test_damage_is_said_before_the_features_are_used_and_the_next_run_mends_it(
    tmp_path: Path, damage: object, reason: str
) -> None:
    filled(tmp_path).close()
    damage(shard(tmp_path))  # type: ignore[operator]
    store = Store(tmp_path)
    with pytest.raises(StoreError, match=f"{NAME}.safetensors are damaged: {reason}.*run the same command again"):
        store.read(entry(store))
    assert not store.find(KEYS)
    assert not shard(tmp_path).exists()
    add(store)
    assert holds_everything(store)


@pytest.mark.parametrize(("damage", "reason"), DAMAGES)
def test_whoever_says_what_it_uses_learns_of_damage_in_time(tmp_path: Path, damage: object, reason: str) -> None:
    filled(tmp_path).close()
    damage(shard(tmp_path))  # type: ignore[operator]
    store = Store(tmp_path)
    assert store.use([NAME]) == set()
    assert not store.find(KEYS)
    add(store)
    assert store.use([NAME]) == {NAME}


def test_a_byte_flipped_within_one_tick_of_the_clock_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tick = time.time_ns() // 4_000_000 * 4_000_000  # as kernels stamp files that tick every 4 ms

    def save(path: Path, tensors: dict[str, torch.Tensor], facts: dict[str, str]) -> None:
        save_tensors(path, tensors, facts)
        os.utime(path, ns=(tick, tick))

    monkeypatch.setattr("superbench.features.store.addition.save_tensors", save)
    store = filled(tmp_path)
    flip(shard(tmp_path))
    os.utime(shard(tmp_path), ns=(tick, tick))
    with pytest.raises(StoreError, match="its bytes are not those"):
        store.read(entry(store))


def test_an_unchanged_file_is_not_hashed_again_and_a_changed_one_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from superbench.features.store import shard as module

    hashed: list[Path] = []
    checksum = module.checksum
    filled(tmp_path).close()
    monkeypatch.setattr(module, "checksum", lambda path: (hashed.append(path), checksum(path))[1])
    for expected in (0, 1, 1):
        store = Store(tmp_path)
        store.read(entry(store))
        assert len(hashed) == expected
        if not expected:
            os.utime(shard(tmp_path))  # a copy from a backup: same bytes, another time


def test_only_hashing_everything_finds_decay_that_left_no_trace_in_the_file_system(tmp_path: Path) -> None:
    store = filled(tmp_path)
    before = shard(tmp_path).stat()
    flip(shard(tmp_path))
    os.utime(shard(tmp_path), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [finding.state for finding in store.verify()] == ["damaged"]


def forbidden(path: Path, **_: object) -> str:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_permissions_that_forbid_reading_are_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path)
    monkeypatch.setattr("superbench.features.store.shard.stamp", forbidden)
    with pytest.raises(StoreError, match=r"cannot be read: Permission denied\. Check the permissions"):
        store.read(entry(store))
    assert shard(tmp_path).exists()
    assert store.find(KEYS)


# ---------------------------------------------------------------- disks


def test_a_disk_that_fills_up_is_said_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: object, path: Path, facts: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    store = filled(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", full)
        with pytest.raises(StoreError, match=r"The disk is full: free some space and run the same command again"):
            store.add(OTHER, [b"x" * 16], VALUES[:1])
    assert not [path for path in tmp_path.glob("writing/*/*") if path.is_file()]
    assert [finding.state for finding in store.verify()] == ["whole"]
    assert holds_everything(store)
    store.add(OTHER, [b"x" * 16], VALUES[:1])
    assert store.find([b"x" * 16])


def test_an_index_that_cannot_grow_is_said_and_the_store_stays_as_it_was(
    tmp_path: Path, connections: list[sqlite3.Connection]
) -> None:
    store = filled(tmp_path)
    ((pages,),) = connections[-1].execute("PRAGMA page_count")
    connections[-1].execute(f"PRAGMA max_page_count = {pages}")
    keys = [(1000 + number).to_bytes(16, "big") for number in range(1000)]
    with pytest.raises(StoreError, match=r"index\.sqlite cannot be written: database or disk is full.*free some space"):
        store.add(OTHER, keys, [VALUES[0][:1]] * 1000)
    assert not store.find(keys)
    assert holds_everything(store)
    assert [(one.name, one.reason) for one in store.gc()] == [(shard(tmp_path, OTHER).name, "in no index")]


def test_a_store_that_became_read_only_is_said_and_can_still_be_read(
    tmp_path: Path, connections: list[sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    store = filled(tmp_path)
    monkeypatch.setattr(tempfile, "mkstemp", read_only)
    with pytest.raises(StoreError, match=r"Could not write .*Read-only file system. Check that the folder is writable"):
        add(store, OTHER)
    connections[-1].execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match=r"attempt to write a readonly database. Make the folder writable, or .*--store"):
        store.use([NAME])
    os.utime(shard(tmp_path))  # its new stamp cannot be kept
    assert holds_everything(store)


def test_files_that_cannot_be_removed_or_locked_are_said_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", forbidden)
        with pytest.raises(StoreError, match=r"Could not remove .*Permission denied. Check that its folder is writable"):
            store.gc(0)
        flip(shard(tmp_path))
        with pytest.raises(StoreError, match="damaged: its bytes are not those"):
            store.read(entry(store))
    assert store.find(KEYS)
    (tmp_path / "locks" / NAME[:3]).mkdir()
    with (
        pytest.raises(StoreError, match=r"The lock file .* cannot be created: Is a directory"),
        store.working_on(NAME, wait=True),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"feature store .* cannot be opened: .*Not a directory.*another folder with --store"):
        Store(tmp_path / "file")


def test_an_index_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"not an index " * 100)
    with pytest.raises(StoreError, match=r"file is not a database. It is damaged: delete the folder"):
        Store(tmp_path)


# ---------------------------------------------------------------- processes


@pytest.mark.slow
def test_two_processes_that_write_the_same_shard_at_once_leave_one_whole_shard(tmp_path: Path) -> None:
    processes = [writer(tmp_path, MANY_TIMES) for _ in range(2)]
    for process in processes:
        go_on(process)
    store = Store(tmp_path)
    while any(process.poll() is None for process in processes):
        assert not [finding for finding in store.verify() if finding.state == "stray"]
        entries = store.find(KEYS)
        assert len(entries) in (0, len(KEYS))
    assert [process.wait() for process in processes] == [0, 0]
    assert [finding.state for finding in store.verify()] == ["whole"]
    assert holds_everything(store)


@pytest.mark.slow
def test_killed_after_writing_and_before_taking_its_place_a_process_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    process = writer(tmp_path, "store.add(name, keys, values)")
    store = Store(tmp_path)
    blocker = sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    go_on(process)
    until = time.monotonic() + 60
    while not list(tmp_path.glob(f"writing/*/{NAME}")):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    blocker.execute("ROLLBACK")
    assert not store.find(KEYS)
    assert not shard(tmp_path).exists()
    assert [(one.name, one.reason) for one in store.gc()] == [(NAME, "left by a dead process")]
    add(store)
    assert holds_everything(store)


@pytest.mark.slow
def test_killed_between_its_place_and_its_row_a_process_leaves_a_file_that_nobody_believes(tmp_path: Path) -> None:
    process = writer(tmp_path, KILLED_BEFORE_ITS_ROW)
    go_on(process)
    assert process.wait(60) == -signal.SIGKILL
    store = Store(tmp_path)
    assert shard(tmp_path).exists()
    assert not store.find(KEYS)
    assert [finding.state for finding in store.verify()] == ["stray"]
    assert [one.reason for one in store.gc()] == ["in no index"]
    add(store)
    assert holds_everything(store)


@pytest.mark.slow
def test_many_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", OPENING, str(tmp_path / "new")]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]


# ---------------------------------------------------------------- versions


def test_a_store_of_the_first_version_opens_with_all_that_is_in_it(tmp_path: Path) -> None:
    filled(tmp_path).close()
    old = sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)
    for statement in (
        "CREATE TABLE first (name TEXT PRIMARY KEY, bytes INTEGER, checksum TEXT, made REAL) WITHOUT ROWID",
        "INSERT INTO first SELECT name, bytes, checksum, made FROM shards",
        "DROP TABLE shards", "ALTER TABLE first RENAME TO shards", "DROP TABLE pins", "PRAGMA user_version = 0",
    ):  # fmt: skip
        old.execute(statement)
    old.close()
    store = Store(tmp_path)
    assert holds_everything(store)
    assert store.contents()[0].used == store.contents()[0].made
    assert store.use([NAME]) == {NAME}
    assert [one.name for one in Store(tmp_path).gc(0)] == []


def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    filled(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "index.sqlite")) as index:
        index.execute("PRAGMA user_version = 7")
    with pytest.raises(StoreError, match=r"created by a newer superbench \(its index has version 7.*Update superbench"):
        Store(tmp_path)


# ---------------------------------------------------------------- verification and the commands


def test_verify_names_damage_entries_without_a_shard_and_files_without_a_row(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.add(OTHER, [b"y" * 16], VALUES[:1])
    rows = [(b"a" * 16, "gone", 0, 1), (b"b" * 16, OTHER, 90, 11)]
    with contextlib.closing(sqlite3.connect(tmp_path / "index.sqlite")) as index, index:
        index.executemany("INSERT INTO entries (key, shard, start, rows) VALUES (?,?,?,?)", rows)
    stray = shard(tmp_path).with_name(f"{'0' * 32}.safetensors")
    stray.write_bytes(b"?")
    states = {finding.shard: (finding.state, finding.message) for finding in store.verify()}
    assert states[NAME] == ("whole", f"4 entries, 400 rows in float32, {shard(tmp_path).stat().st_size} bytes")
    assert states[OTHER][0] == "damaged"
    assert "it has 100 rows, the index expects 101" in states[OTHER][1]
    assert states["gone"] == ("damaged", "1 entries point to the shard gone, which is not in the index")
    assert states[stray.stem][0] == "stray"
    store.forget("gone")
    assert "gone" not in {finding.shard for finding in store.verify()}


@pytest.mark.slow
def test_the_command_verifies_repairs_and_tells_by_its_status(tmp_path: Path) -> None:
    filled(tmp_path).close()
    assert command("verify", "--store", tmp_path).exit_code == 0
    flip(shard(tmp_path))
    done = command("verify", "--store", tmp_path)
    assert done.exit_code == 1
    assert "0 shards intact, 1 damaged" in done.stdout
    assert "--repair" in done.stdout
    assert command("verify", "--store", tmp_path, "--repair").exit_code == 0
    assert "0 shards intact, 0 damaged" in command("verify", "--store", tmp_path).stdout
    assert not shard(tmp_path).exists()


@pytest.mark.slow
def test_the_command_lists_and_makes_room(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.add(OTHER, [b"y" * 16], VALUES[:1])
    store.use([OTHER])
    output = " ".join(command("ls", "--store", tmp_path).stdout.split())
    assert "68.2 kB in 2 shards, 5 entries; 13.7 kB pinned" in output
    listed = json.loads(command("ls", "--store", tmp_path, "--json").stdout)
    assert [(one["shard"], one["entries"], one["pinned"]) for one in listed["shards"]] == [(OTHER, 1, True), (NAME, 4, False)]
    assert "Nothing to remove" in command("gc", "--store", tmp_path).stdout
    output = " ".join(command("gc", "--store", tmp_path, "--gb", "0").stdout.split())
    assert "Removed 1 files, 54.5 kB: least recently used." in output
    assert "running processes need these shards" in output


@pytest.mark.slow
def test_listing_a_store_does_not_load_torch(tmp_path: Path) -> None:
    filled(tmp_path).close()
    output = subprocess.run([sys.executable, "-c", LISTING, str(tmp_path)], capture_output=True, text=True, check=True).stdout
    assert "in 1 shards" in output
    assert output.endswith("False\n")


def test_looking_at_a_store_that_is_not_there_makes_none(tmp_path: Path) -> None:
    for action in ("ls", "gc", "verify"):
        done = command(action, "--store", tmp_path / "nowhere")
        assert "contains no feature store" in str(done.exception)
        assert done.exception.exit_status == 2  # type: ignore[union-attr]
    assert not (tmp_path / "nowhere").exists()
