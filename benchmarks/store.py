"""How fast is the feature store? `python benchmarks/store.py`; needs about 1.2 GB of disk for a minute, and no rights.

Speeds of reading are given beside that of reading the same files plainly, in the same state of the page cache, since the disk
is not what is being measured. "Cold" asks the system to drop the files from its cache (`posix_fadvise`); a virtual disk may
have a cache of its own behind that.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from superbench.features.store import Entry, Store

LAYERS, DIM = 13, 768
"""A model of base size: its mean features are 40 KB for an utterance."""
MEANS = 1600
"""Utterances in a shard, 64 MB of means."""


def main(
    entries: Annotated[int, typer.Option(help="Entries in the index")] = 1_000_000,
    shards: Annotated[int, typer.Option(help="Shards of 64 MB to read")] = 16,
    folder: Annotated[Path | None, typer.Option(help="Where to build the store, in place of the system's")] = None,
) -> None:
    """Build a synthetic store, measure it, remove it."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=folder) as root:
        began = time.perf_counter()
        keys, large = build(Path(root), entries, shards)
        print(f"built in {time.perf_counter() - began:.0f} s: {len(keys):,} entries, {shards} shards of 64 MB to read")
        index(Path(root), keys)
        reading(Path(root), large)


def build(root: Path, entries: int, shards: int) -> tuple[list[bytes], list[bytes]]:
    """All keys, and those of the large shards; written as extraction does it."""
    random, per_shard = np.random.default_rng(0), 10_000
    with Store(root) as store:
        large = [digest(f"large {number}") for number in range(shards * MEANS)]
        for number in range(shards):
            values = torch.from_numpy(random.standard_normal((MEANS, LAYERS, DIM), np.float32))
            store.add(digest(f"shard {number}").hex(), large[number * MEANS : (number + 1) * MEANS], values.split(1))
        small = [digest(f"small {number}") for number in range(entries - len(large))]
        for at in range(0, len(small), per_shard):
            keys = small[at : at + per_shard]
            store.add(digest(f"small shard {at}").hex(), keys, torch.zeros(len(keys), 1, 1).split(1))
    return large + small, large


def digest(text: str) -> bytes:
    """A key, or the name of a shard."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def index(root: Path, keys: list[bytes]) -> None:
    """Opening, finding, listing."""
    with timed() as seconds:
        store = Store(root)
    size = (root / "index.sqlite").stat().st_size / 1e6
    print(f"open                    {1000 * seconds():8.1f} ms     index of {size:.0f} MB")
    wanted = [keys[i] for i in np.random.default_rng(1).permutation(len(keys))[:200_000]]
    with timed() as seconds:
        entries_found = store.find(wanted)
    assert len(entries_found) == len(wanted)
    print(f"find                    {len(wanted) / seconds() / 1000:8.0f} thousand keys a second, in random order")
    with timed() as seconds:
        store.contents()
    print(f"list of contents        {seconds():8.2f} s")


def reading(root: Path, keys: list[bytes]) -> None:
    """Every mean of the large shards in random order, with and without hashing; and what `verify` takes."""
    with Store(root) as store:
        entries = list(store.find(keys).values())
    names = {entry.shard for entry in entries}
    files = sorted(path for path in (root / "shards").rglob("*.safetensors") if path.stem in names)
    for state, prepare in (("warm", warm), ("cold", cold)):
        plain = speed(files, prepare, lambda: [read_plainly(path) for path in files])
        stored = speed(files, prepare, lambda: read_stored(root, entries))
        print(f"read, {state}              {stored:8.2f} GB/s   {stored / plain:5.2f} of plain reading ({plain:.2f} GB/s)")
        hashing = speed(files, lambda paths, then=prepare: then(touch(paths)), lambda: read_stored(root, entries))
        print(f"  and hashing it first  {hashing:8.2f} GB/s   {hashing / stored:5.2f} of reading without")
    with Store(root) as store, timed() as seconds:
        complete = sum(finding.state == "whole" for finding in store.verify())
    total = sum(path.stat().st_size for path in (root / "shards").rglob("*.safetensors")) / 1e9
    print(f"verify                  {total / seconds():8.2f} GB/s   {complete} shards complete")


def speed(files: list[Path], prepare: Callable[[list[Path]], object], work: Callable[[], object]) -> float:
    """Returns GB/s, the median of three measurements."""
    taken = []
    for _ in range(3):
        prepare(files)
        with timed() as seconds:
            work()
        taken.append(seconds())
    return sum(path.stat().st_size for path in files) / 1e9 / sorted(taken)[1]


def read_plainly(path: Path) -> None:
    """Reads all bytes of a file through one small buffer."""
    block = bytearray(2**20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(block):
            pass


def read_stored(root: Path, entries: list[Entry]) -> None:
    """Opens a store, and copies each mean to an array, as a sweep does."""
    mean = np.empty((LAYERS, DIM), np.float32)
    with Store(root) as store:
        for entry in entries:
            mean[...] = store.read(entry)[0].numpy()


def warm(files: list[Path]) -> None:
    """Into the page cache."""
    for path in files:
        read_plainly(path)


def cold(files: list[Path]) -> None:
    """Out of the page cache."""
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def touch(files: list[Path]) -> list[Path]:
    """Marks the files as changed."""
    for path in files:
        os.utime(path)
    return files


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """Seconds between begin and end of the block."""
    began, spent = time.perf_counter(), 0.0
    try:
        yield lambda: spent
    finally:
        spent = time.perf_counter() - began


if __name__ == "__main__":
    typer.run(main)
