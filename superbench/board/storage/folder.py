"""A board in a folder that can be kept in git: each accepted bundle is one file to commit.

    bundles/<moment>-<upstream>-<digest>.zip     and a .json with the token's name if it was submitted with a token
    references/ tokens/ rulings/                 documents, one file each
    audit.jsonl                                  the log
    .evidence/ .incoming/ .lock                  not for git (listed in .gitignore)

A bundle is accepted when its file exists. Files are written completely or not at all; the bundle is written after all others
except the log.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from superbench.board.bundles.bundle import name_and_digest
from superbench.board.storage.base import Event, Kind, StoredBundle, checked, parse_events
from superbench.errors import CommandError
from superbench.system.files import require_folder, whole, write_text
from superbench.system.locks import locked

BUNDLES = "bundles"
HIDDEN = {"evidence": ".evidence", "incoming": ".incoming"}
IGNORED = "".join(f"{name}\n" for name in (".lock", *(f"{folder}/" for folder in HIDDEN.values())))
SHORT = 12
LONGEST = 80
"""Letters of an upstream's name in the name of a file."""
_FILE = re.compile(r"(?P<accepted>[0-9TZ.]+)-(?P<name>.+)-(?P<short>[0-9a-f]{12})\.zip")


class FolderStorage:
    """A board in the folder `root`; the first write creates it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = str(root)

    def exists(self) -> bool:
        """Returns whether the folder contains any part of a board."""
        return any((self.root / name).exists() for name in (BUNDLES, "references", "tokens", "audit.jsonl"))

    @contextlib.contextmanager
    def writing(self) -> Iterator[FolderStorage]:
        """Locks the folder with a lock of the operating system, which is released when its process ends."""
        if self.root.exists() and not self.root.is_dir():
            raise CommandError(f"{self.root} is a file. A board is a folder, or a database: sqlite:///{self.root}.db")
        if not self.root.is_dir():
            require_folder(self.root, f"The board {self.root}")
        with locked(self.root / ".lock", wait=True):
            if not (self.root / ".gitignore").exists():
                write_text(self.root / ".gitignore", IGNORED)
            yield self

    def close(self) -> None:
        """Does nothing: a folder has no open connections."""

    # ------------------------------------------------------------ bundles

    def bundles(self) -> list[StoredBundle]:
        """Returns all bundles, sorted by the time of acceptance in their files' names.

        A file with any other name, which somebody copied into the folder, counts as well; these come last, sorted by name.
        """
        files = (self.root / BUNDLES).glob("*.zip")
        stored = (self._stored(path) for path in files)
        return sorted(stored, key=lambda bundle: (bundle.accepted == "", bundle.accepted, bundle.place))

    def _stored(self, path: Path) -> StoredBundle:
        match = _FILE.fullmatch(path.name)
        if match is None:
            name, digest = name_and_digest(path) or (path.stem, "")
            return StoredBundle(digest=digest, upstream=name, accepted="", by="", place=str(path))
        name = match["name"]
        if "_" in name or len(name) == LONGEST:  # letters were replaced or cut off: read the full name from the bundle
            name = (name_and_digest(path) or (name,))[0]
        owner = path.with_suffix(".json")
        try:
            by = str(json.loads(owner.read_bytes())["by"]) if owner.is_file() else ""
        except (ValueError, KeyError, TypeError, OSError):
            by = f"unknown: {owner.name} is damaged"  # no token has this name: the row is shown, and its name cannot be taken
        return StoredBundle(digest=match["short"], upstream=name, accepted=match["accepted"], by=by, place=str(path))

    def data(self, digest: str) -> bytes:
        """Returns the bytes of a bundle by its digest, the first digits of it, or its path (`StoredBundle.place`)."""
        if digest.endswith(".zip"):
            return Path(digest).read_bytes()
        paths = sorted((self.root / BUNDLES).glob(f"*-{checked(digest)[:SHORT]}.zip"))
        if not paths:
            raise KeyError(digest)
        return paths[0].read_bytes()

    def add(self, stored: StoredBundle, data: bytes) -> StoredBundle:
        """Writes the name of its token first, then the bundle."""
        name = re.sub(r"[^A-Za-z0-9._-]", "_", stored.upstream)[:LONGEST]
        path = self.root / BUNDLES / f"{stored.accepted}-{name}-{stored.digest[:SHORT]}.zip"
        if stored.by:
            write_text(path.with_suffix(".json"), json.dumps({"by": stored.by}) + "\n")
        with whole(path) as temporary:
            temporary.write_bytes(data)
        _sync(path.parent)
        return StoredBundle(
            digest=stored.digest, upstream=stored.upstream, accepted=stored.accepted, by=stored.by, place=str(path)
        )

    # ------------------------------------------------------------ documents

    def _folder(self, kind: Kind) -> Path:
        return self.root / HIDDEN.get(kind, kind)

    def get(self, kind: Kind, name: str) -> bytes | None:
        """Returns the content of a document's file; None if there is none."""
        try:
            return (self._folder(kind) / checked(name)).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, kind: Kind) -> list[str]:
        """Returns the names of the files in the folder of this kind, sorted."""
        return sorted(path.name for path in self._folder(kind).glob("[!.]*"))

    def put(self, kind: Kind, name: str, data: bytes) -> None:
        """Writes a document, completely or not at all; replaces an existing one."""
        with whole(self._folder(kind) / checked(name)) as temporary:
            temporary.write_bytes(data)

    def drop(self, kind: Kind, name: str) -> None:
        """Removes the document's file if it exists."""
        (self._folder(kind) / checked(name)).unlink(missing_ok=True)

    # ------------------------------------------------------------ log

    def log(self, event: Event) -> None:
        """Appends a line to the log and flushes it to the disk."""
        with (self.root / "audit.jsonl").open("a", encoding="utf8") as file:
            file.write(event.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def events(self) -> list[Event]:
        """Returns the events in `audit.jsonl`, oldest first."""
        path = self.root / "audit.jsonl"
        return parse_events(path.read_text(encoding="utf8").splitlines()) if path.is_file() else []


def _sync(folder: Path) -> None:
    """Flushes a folder to the disk: the name of a new file is stored in its folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
