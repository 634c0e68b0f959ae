"""Moves features to another machine: one archive, a tar file with a list of its contents and their digests.

The list comes first: for every shard its size, its BLAKE2b digest, the rows of each key, and the names of its models and
tasks; and the reference outputs of the models, without which stored features would be computed again. The archive is read
once, from its beginning to its end. Nothing of it is used before its digest was compared, and no member is written under a
name of its own.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from pydantic import Field, ValidationError

from superbench.errors import BadResult, StoreError
from superbench.features.store.index import Index
from superbench.features.store.labels import add_labels, index_at, labels
from superbench.features.store.shard import checksum, header, place, written
from superbench.system.files import whole
from superbench.system.progress import Reporter
from superbench.system.records import Name, Record, first_fault

LIST = "superbench-features.json"
LONGEST_LIST = 2_000_000_000
STEP = 1 << 20
Key = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){4,64}$")]
ShardName = Annotated[str, Field(pattern=r"^[0-9a-f]{8,128}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Size = Annotated[int, Field(ge=0, le=2**53)]


class PackedShard(Record):
    """A shard in an archive: its file, and (key, first row, rows) of each entry; `used`: pairs of model and task."""

    name: ShardName
    bytes: Size
    digest: Digest
    entries: list[tuple[Key, Size, Size]]
    used: list[tuple[Name, Name]] = Field(default_factory=list)


class PackedOutputs(Record):
    """Reference outputs of a model in an archive."""

    name: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}\.safetensors$")]
    bytes: Size
    digest: Digest


Part = PackedShard | PackedOutputs


class Contents(Record):
    """The list of an archive."""

    schema_: Literal[1] = Field(alias="schema")
    shards: list[PackedShard]
    outputs: list[PackedOutputs]


@dataclass(frozen=True, slots=True)
class Moved:
    """What was packed or unpacked: shards, entries and bytes; `known`: shards that the store had already."""

    shards: int
    entries: int
    bytes: int
    known: int = 0


# ---------------------------------------------------------------- pack


def pack(root: Path, out: Path, reporter: Reporter, models: Sequence[str] = (), tasks: Sequence[str] = ()) -> Moved:
    """Writes the shards of a store (only those that `models` or `tasks` used, if given) to the archive `out`.

    Raises `StoreError` if there are none, or if a shard differs from what was written.
    """
    with index_at(root) as index:
        shards = [shard for shard in _packed(index) if _is_asked(shard, models, tasks)]
    if not shards:
        asked = " and ".join(filter(None, [", ".join(models), ", ".join(tasks)]))
        raise StoreError(f"{root} has no features{f' of {asked}' if asked else ''}. `superbench store ls` shows what it has.")
    outputs = [PackedOutputs(name=path.name, bytes=path.stat().st_size, digest=checksum(path)) for path in _outputs(root)]
    contents = Contents(schema=1, shards=shards, outputs=outputs)
    parts: list[Part] = [*outputs, *shards]
    total, done = sum(part.bytes for part in parts), 0
    with whole(out) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, LIST, io.BytesIO(data := contents.model_dump_json(by_alias=True).encode()), len(data))
        for part in parts:
            path = root / "outputs" / part.name if isinstance(part, PackedOutputs) else place(root, part.name)
            _add_file(archive, part, path)
            done += part.bytes
            reporter.advance("pack", done, total)
    return Moved(len(shards), sum(len(shard.entries) for shard in shards), total)


def _packed(index: Index) -> list[PackedShard]:
    used = labels(index)
    entries: dict[str, list[tuple[str, int, int]]] = {}
    for key, shard, start, count in index.rows("SELECT key, shard, start, rows FROM entries ORDER BY shard, start"):
        entries.setdefault(shard, []).append((key.hex(), start, count))
    return [
        PackedShard(
            name=name, bytes=size, digest=digest, entries=entries[name],
            used=sorted((model, task) for model in used.get(name, ((), ()))[0] for task in used.get(name, ((), ()))[1]),
        )
        for name, size, digest in index.rows("SELECT name, bytes, checksum FROM shards ORDER BY name")
        if name in entries
    ]  # fmt: skip


def _is_asked(shard: PackedShard, models: Sequence[str], tasks: Sequence[str]) -> bool:
    of_model = not models or any(model in models for model, _ in shard.used)
    return of_model and (not tasks or any(task in tasks for _, task in shard.used))


def _outputs(root: Path) -> list[Path]:
    return sorted((root / "outputs").glob("*.safetensors"))


def _add_file(archive: tarfile.TarFile, part: Part, path: Path) -> None:
    try:
        if path.stat().st_size != part.bytes or checksum(path) != part.digest:
            raise StoreError(f"{path} is not what was written. `superbench store verify --repair` removes damaged features.")
        with path.open("rb") as file:
            _add(archive, part.name, file, part.bytes)
    except FileNotFoundError as error:
        raise StoreError(f"{path} was evicted meanwhile. Run the command again.") from error


def _add(archive: tarfile.TarFile, name: str, file: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    archive.addfile(member, file)


# ---------------------------------------------------------------- unpack


def unpack(archive: Path, root: Path, reporter: Reporter) -> Moved:
    """Adds the shards of an archive to the store at `root`, which exists; shards that it has already stay.

    Raises `BadResult` for a file that is no such archive, for a member that is not in its list, is no plain file, or differs
    from its digest: what came before it in the archive stays, the member itself is not used.
    """
    try:
        with tarfile.open(archive, "r|") as reader, index_at(root) as index:
            members = iter(reader)
            contents = _list_of(reader, next(members, None), archive)
            return _unpacked(contents, _files(reader, members, archive), root, index, reporter, archive)
    except (tarfile.TarError, EOFError) as error:
        raise _bad(archive, f"it cannot be read ({error})") from error
    except OSError as error:
        raise StoreError(f"{archive} cannot be unpacked to {root}: {error.strerror or error}.") from error


def _list_of(reader: tarfile.TarFile, member: tarfile.TarInfo | None, archive: Path) -> Contents:
    if member is None or member.name != LIST or not member.isreg() or member.size > LONGEST_LIST:
        raise _bad(archive, f"it does not begin with {LIST}")
    file = reader.extractfile(member)
    assert file is not None
    try:
        return Contents.model_validate_json(file.read())
    except ValidationError as error:
        raise _bad(archive, f"its list is not valid: {first_fault(error)}") from error


def _files(reader: tarfile.TarFile, members: Iterator[tarfile.TarInfo], archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    for member in members:
        if not member.isreg():
            raise _bad(archive, f"{member.name!r:.100} is no plain file")
        file = reader.extractfile(member)
        assert file is not None
        yield member.name, member.size, file


def _unpacked(
    contents: Contents, files: Iterator[tuple[str, int, IO[bytes]]], root: Path, index: Index, reporter: Reporter, archive: Path
) -> Moved:
    listed: list[Part] = [*contents.outputs, *contents.shards]
    parts = {part.name: part for part in listed}
    waiting, total, done = dict(parts), sum(part.bytes for part in parts.values()), 0
    known = set(index.known("shards", [shard.name for shard in contents.shards]))
    with tempfile.TemporaryDirectory(prefix="unpacking-", dir=root) as folder:
        for name, size, file in files:
            part = waiting.pop(name, None)
            if part is None or part.bytes != size:
                raise _bad(archive, f"{name!r:.100} is not in its list, or has another size")
            staged = Path(folder) / "part"
            _write(file, staged, part, archive)
            if isinstance(part, PackedOutputs):
                _place_outputs(root, staged, part)
            elif name not in known:
                _place(root, index, staged, part, lambda why: _bad(archive, why))
            done += size
            reporter.advance("unpack", done, total)
    if waiting:
        raise _bad(archive, f"{len(waiting)} of the {len(parts)} files in its list are missing: it was cut off")
    new = [shard for shard in contents.shards if shard.name not in known]
    return Moved(len(new), sum(len(s.entries) for s in new), sum(s.bytes for s in new), len(contents.shards) - len(new))


def _write(file: IO[bytes], staged: Path, part: Part, archive: Path) -> None:
    digest = hashlib.blake2b(digest_size=16)
    with staged.open("wb") as out:
        while data := file.read(STEP):
            digest.update(data)
            out.write(data)
    if digest.hexdigest() != part.digest:
        raise _bad(archive, f"{part.name} differs from its digest")


def _place(root: Path, index: Index, staged: Path, shard: PackedShard, bad: Callable[[str], BadResult]) -> None:
    from superbench.features.store.shard import Damaged

    try:
        _, count = header(staged)
    except Damaged as error:
        raise bad(f"{shard.name} is no file of features ({error})") from error
    if any(start + length > count for _, start, length in shard.entries):
        raise bad(f"{shard.name} has {count} rows, fewer than its list says")
    facts, now = written(staged), time.time()
    with index.transaction():
        place(root, shard.name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged, place(root, shard.name))
        index.put("shards", [(shard.name, facts.bytes, facts.checksum)])
        when = "UPDATE shards SET made = ?, used = ?, checked = ? WHERE name = ?"
        index.write(when, [(now, now, facts.stamp, shard.name)])
        entries: list[Any] = [(bytes.fromhex(key), shard.name, start, length) for key, start, length in shard.entries]
        index.put("entries", entries, replacing=False)
        add_labels(index, [(shard.name, model, task) for model, task in shard.used])


def _place_outputs(root: Path, staged: Path, part: PackedOutputs) -> None:
    """Keeps outputs of a model that is new here; those that this machine measured stay."""
    (root / "outputs").mkdir(exist_ok=True)
    if not (root / "outputs" / part.name).exists():
        os.replace(staged, root / "outputs" / part.name)


def _bad(archive: Path, why: str) -> BadResult:
    return BadResult(f"{archive} is no archive of features, or it is damaged: {why}. Pack it again: superbench store pack.")
