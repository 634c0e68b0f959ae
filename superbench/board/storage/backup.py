"""A whole board in one file, and back: also the way from a folder into a database, or out of it.

A zip file: `bundles/<digest>.zip`, `documents/<kind>/<name>`, and `board.json` last, which lists them with their SHA-256, the
order of acceptance, and the log.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from superbench.board.bundles.bundle import open_bundle
from superbench.board.storage.base import Event, Kind, Reading, Storage, StoredBundle, checked, event
from superbench.errors import BadResult, CommandError, Refusal, Unavailable
from superbench.system.files import require_place, whole

LIST = "board.json"
_DOCUMENT = re.compile(rf"documents/({'|'.join(get_args(Kind))})/([^/]+)")
_DIGEST, _MOMENT = re.compile(r"[0-9a-f]{64}"), re.compile(r"(\d{8}T\d{6}\.\d{6}Z0*)?")
Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class Contents:
    """How much was saved or restored, and what could not be read, with the reason."""

    bundles: int
    documents: int
    events: int
    left_out: tuple[str, ...] = ()


def backup(storage: Storage, file: Path, progress: Progress = lambda done, total: None) -> Contents:
    """Write the board to `file`, whole or not at all, while no one writes to it; a bundle that cannot be read is left out, and
    said. Raises `CommandError` if there is no board, `Unavailable` where its storage is away."""
    if not storage.exists():
        raise CommandError(f"{storage.address} is no board: there is nothing to save.")
    require_place(file, f"The file {file}")
    with storage.writing() as writer, whole(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        held = writer.bundles()
        sums: dict[str, str] = {}
        listed, left_out = [], []
        for number, one in enumerate(held):
            progress(number, len(held))
            try:
                data = writer.data(one.place or one.digest)
                digest = open_bundle(data).digest
            except Unavailable:
                raise
            except Exception as error:  # one bundle, whatever is wrong with it, is not the board
                left_out.append(f"{one.upstream} ({one.digest[:12] or 'no digest'}): {error!s:.200}")
                continue
            _write(archive, sums, f"bundles/{digest}.zip", data)
            listed.append({"digest": digest, "upstream": one.upstream, "accepted": one.accepted, "by": one.by})
        documents = _documents(writer, archive, sums)
        events = [asdict(one) for one in storage.events()]
        head = {"schema": 1, "bundles": listed, "files": sums, "events": events}
        archive.writestr(LIST, json.dumps(head, ensure_ascii=False, indent=1))
    progress(len(held), len(held))
    return Contents(len(listed), documents, len(events), tuple(left_out))


def _documents(reader: Reading, archive: zipfile.ZipFile, sums: dict[str, str]) -> int:
    count = 0
    for kind in get_args(Kind):
        for name in reader.names(kind):
            data = reader.get(kind, name)
            if data is not None:
                _write(archive, sums, f"documents/{kind}/{name}", data)
                count += 1
    return count


def _write(archive: zipfile.ZipFile, sums: dict[str, str], name: str, data: bytes) -> None:
    sums[name] = hashlib.sha256(data).hexdigest()
    archive.writestr(zipfile.ZipInfo(name), data)


def restore(file: Path, storage: Storage, progress: Progress = lambda done, total: None) -> Contents:
    """Write what `backup` saved into a board that has nothing yet. Raises `BadResult` for a damaged file, `CommandError` if
    something is there."""
    if storage.exists() and (storage.bundles() or storage.names("tokens") or storage.names("references")):
        raise CommandError(f"{storage.address} holds a board already. Restore into a place where there is none.")
    try:
        with zipfile.ZipFile(file) as archive:
            head = json.loads(archive.read(LIST))
            if head["schema"] != 1:
                raise BadResult(f"{file} is of schema {head['schema']}; this version of superbench restores schema 1.")
            return _restore(archive, head, storage, progress)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, ValueError, TypeError, Refusal) as error:
        raise BadResult(f"{file} is no backup of a board, or is damaged: {error}. Nothing was restored.") from error


def _restore(archive: zipfile.ZipFile, head: dict[str, Any], storage: Storage, progress: Progress) -> Contents:
    for name, digest in head["files"].items():  # all of it first: nothing is written from a damaged file
        if hashlib.sha256(archive.read(name)).hexdigest() != digest:
            raise ValueError(f"{name} was changed")
    bundles = [(_held(one, archive), f"bundles/{one['digest']}.zip") for one in head["bundles"]]
    documents = [_document(name) for name in head["files"] if name not in {place for _, place in bundles}]
    events = [_event(line) for line in head["events"]]
    with storage.writing() as writer:
        for number, (held, place) in enumerate(bundles):
            progress(number, len(bundles))
            writer.add(held, archive.read(place))
        for kind, name in documents:
            writer.put(kind, name, archive.read(f"documents/{kind}/{name}"))
        for one in events:
            writer.log(one)
        writer.log(event("keeper", "restored", str(len(bundles)), Path(archive.filename or "").name))
    progress(len(bundles), len(bundles))
    return Contents(len(bundles), len(documents), len(events))


# What stands in the list becomes names of files: each is looked at before the first is written.


def _held(one: dict[str, str], archive: zipfile.ZipFile) -> StoredBundle:
    """A bundle's entry; raises `ValueError` if it is not what its bundle says."""
    if not _DIGEST.fullmatch(one["digest"]) or not _MOMENT.fullmatch(one["accepted"]):
        raise ValueError(f"{one['digest']!r:.100}, accepted {one['accepted']!r:.100}, is no entry of a board")
    bundle = open_bundle(archive.read(f"bundles/{one['digest']}.zip"))
    if (bundle.digest, bundle.upstream) != (one["digest"], one["upstream"]):
        raise ValueError(f"{one['digest']} is listed as {one['upstream']!r:.100}, and holds {bundle.upstream!r:.100}")
    return StoredBundle(one["digest"], one["upstream"], one["accepted"], _text(one["by"]))


def _document(name: str) -> tuple[Kind, str]:
    found = _DOCUMENT.fullmatch(name)
    if not found:
        raise ValueError(f"{name!r:.100} is no file of a board")
    return found[1], checked(found[2])  # type: ignore[return-value]


def _event(line: dict[str, str]) -> Event:
    one = Event(**line)
    for value in asdict(one).values():
        _text(value)
    return one


def _text(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.100} is no text")
    return value
