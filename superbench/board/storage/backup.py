"""Saves a complete board in one file and restores it, also from a folder into a database or the other way round.

The file is a zip file: `bundles/<digest>.zip`, `documents/<kind>/<name>`, and last `board.json`, which contains their SHA-256,
the order of acceptance, and the log.
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
    """The number of saved or restored bundles, documents and events; and what could not be read, with the reasons."""

    bundles: int
    documents: int
    events: int
    left_out: tuple[str, ...] = ()


def backup(storage: Storage, file: Path, progress: Progress = lambda done, total: None) -> Contents:
    """Writes the board to `file`, completely or not at all, while nobody else can write to the board.

    A bundle that cannot be read is left out and listed in `left_out`. Raises `CommandError` if there is no board, `Unavailable`
    if its storage cannot be reached.
    """
    if not storage.exists():
        raise CommandError(f"{storage.address} is not a board: there is nothing to save.")
    require_place(file, f"The file {file}")
    with storage.writing() as writer, whole(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        bundles = writer.bundles()
        sums: dict[str, str] = {}
        listed, left_out = [], []
        for number, stored in enumerate(bundles):
            progress(number, len(bundles))
            try:
                data = writer.data(stored.place or stored.digest)
                digest = open_bundle(data).digest
            except Unavailable:
                raise
            except Exception as error:  # a damaged bundle must not prevent a backup of the others
                left_out.append(f"{stored.upstream} ({stored.digest[:12] or 'no digest'}): {error!s:.200}")
                continue
            _write(archive, sums, f"bundles/{digest}.zip", data)
            listed.append({"digest": digest, "upstream": stored.upstream, "accepted": stored.accepted, "by": stored.by})
        documents = _documents(writer, archive, sums)
        events = [asdict(event) for event in storage.events()]
        head = {"schema": 1, "bundles": listed, "files": sums, "events": events}
        archive.writestr(LIST, json.dumps(head, ensure_ascii=False, indent=1))
    progress(len(bundles), len(bundles))

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
    """Writes a backup into an empty board.

    Raises `BadResult` for a damaged file, `CommandError` if the board is not empty.
    """
    if storage.exists() and (storage.bundles() or storage.names("tokens") or storage.names("references")):
        raise CommandError(f"{storage.address} contains a board already. Restore into a new folder or an empty database.")
    try:
        with zipfile.ZipFile(file) as archive:
            head = json.loads(archive.read(LIST))
            if head["schema"] != 1:
                raise BadResult(f"{file} has schema {head['schema']}; this version of superbench restores schema 1.")
            return _restore(archive, head, storage, progress)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, ValueError, TypeError, Refusal) as error:
        raise BadResult(f"{file} is not a backup of a board, or is damaged: {error}. Nothing was restored.") from error


def _restore(archive: zipfile.ZipFile, head: dict[str, Any], storage: Storage, progress: Progress) -> Contents:
    for name, digest in head["files"].items():  # check all files first: nothing is written from a damaged backup
        if hashlib.sha256(archive.read(name)).hexdigest() != digest:
            raise ValueError(f"{name} was changed")
    bundles = [(_stored_bundle(entry, archive), f"bundles/{entry['digest']}.zip") for entry in head["bundles"]]
    documents = [_document(name) for name in head["files"] if name not in {path for _, path in bundles}]
    events = [_event(line) for line in head["events"]]
    with storage.writing() as writer:
        for number, (stored, path) in enumerate(bundles):
            progress(number, len(bundles))
            writer.add(stored, archive.read(path))
        for kind, name in documents:
            writer.put(kind, name, archive.read(f"documents/{kind}/{name}"))
        for logged in events:
            writer.log(logged)
        writer.log(event("keeper", "restored", str(len(bundles)), Path(archive.filename or "").name))
    progress(len(bundles), len(bundles))
    return Contents(len(bundles), len(documents), len(events))


# Names in the list become names of files: all are checked before the first file is written.


def _stored_bundle(entry: dict[str, str], archive: zipfile.ZipFile) -> StoredBundle:
    """Returns a bundle's entry; raises `ValueError` if it differs from the bundle itself."""
    if not _DIGEST.fullmatch(entry["digest"]) or not _MOMENT.fullmatch(entry["accepted"]):
        raise ValueError(f"{entry['digest']!r:.100}, accepted {entry['accepted']!r:.100}, is not an entry of a board")
    bundle = open_bundle(archive.read(f"bundles/{entry['digest']}.zip"))
    if (bundle.digest, bundle.upstream) != (entry["digest"], entry["upstream"]):
        raise ValueError(f"{entry['digest']} is listed as {entry['upstream']!r:.100}, but contains {bundle.upstream!r:.100}")
    return StoredBundle(entry["digest"], entry["upstream"], entry["accepted"], _text(entry["by"]))


def _document(name: str) -> tuple[Kind, str]:
    match = _DOCUMENT.fullmatch(name)
    if not match:
        raise ValueError(f"{name!r:.100} is not a file of a board")
    return match[1], checked(match[2])  # type: ignore[return-value]


def _event(line: dict[str, str]) -> Event:
    parsed = Event(**line)
    for value in asdict(parsed).values():
        _text(value)
    return parsed


def _text(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.100} is not a text")
    return value
