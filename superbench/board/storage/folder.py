"""A board in a folder, friendly to git: an accepted bundle is a file to commit.

    bundles/<moment>-<upstream>-<digest>.zip     with a .json beside it where a token was asked for
    references/ tokens/ rulings/                 documents, one file each
    audit.jsonl                                  the log
    .evidence/ .incoming/ .lock                  not for git (.gitignore says so)

A bundle is there when its file is: files are written whole, the bundle's last but for the log.
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
"""Letters of an upstream's name in a file's."""
_FILE = re.compile(r"(?P<accepted>[0-9TZ.]+)-(?P<name>.+)-(?P<short>[0-9a-f]{12})\.zip")


class FolderStorage:
    """The board in the folder `root`; made when somebody writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = str(root)

    def exists(self) -> bool:
        """Is there anything that a board consists of?"""
        return any((self.root / name).exists() for name in (BUNDLES, "references", "tokens", "audit.jsonl"))

    @contextlib.contextmanager
    def writing(self) -> Iterator[FolderStorage]:
        """Held by the operating system's lock, which a killed process lets go."""
        if self.root.exists() and not self.root.is_dir():
            raise CommandError(f"{self.root} is a file. A board is a folder, or a database: sqlite:///{self.root}.db")
        if not self.root.is_dir():
            require_folder(self.root, f"The board {self.root}")
        with locked(self.root / ".lock", wait=True):
            if not (self.root / ".gitignore").exists():
                write_text(self.root / ".gitignore", IGNORED)
            yield self

    def close(self) -> None:
        """Nothing is open."""

    # ------------------------------------------------------------ bundles

    def bundles(self) -> list[StoredBundle]:
        """By the files' names, which begin with the moment of acceptance. A file that somebody put there under another name
        counts as well: after all that have a moment, by name."""
        files = (self.root / BUNDLES).glob("*.zip")
        return sorted((self._held(path) for path in files), key=lambda one: (one.accepted == "", one.accepted, one.place))

    def _held(self, path: Path) -> StoredBundle:
        found = _FILE.fullmatch(path.name)
        if found is None:
            name, digest = name_and_digest(path) or (path.stem, "")
            return StoredBundle(digest, name, "", "", str(path))
        name = found["name"]
        if "_" in name or len(name) == LONGEST:  # letters were replaced, or cut off: the bundle has its name in full
            name = (name_and_digest(path) or (name,))[0]
        beside = path.with_suffix(".json")
        try:
            by = str(json.loads(beside.read_bytes())["by"]) if beside.is_file() else ""
        except (ValueError, KeyError, TypeError, OSError):
            by = f"unknown: {beside.name} is damaged"  # nobody's token: the row is shown, and nobody takes its name
        return StoredBundle(found["short"], name, found["accepted"], by, str(path))

    def data(self, digest: str) -> bytes:
        """By the digest, its beginning, or the path that `held` gave."""
        if digest.endswith(".zip"):
            return Path(digest).read_bytes()
        found = sorted((self.root / BUNDLES).glob(f"*-{checked(digest)[:SHORT]}.zip"))
        if not found:
            raise KeyError(digest)
        return found[0].read_bytes()

    def add(self, held: StoredBundle, data: bytes) -> StoredBundle:
        """Whose it is first, then the bundle."""
        name = re.sub(r"[^A-Za-z0-9._-]", "_", held.upstream)[:LONGEST]
        path = self.root / BUNDLES / f"{held.accepted}-{name}-{held.digest[:SHORT]}.zip"
        if held.by:
            write_text(path.with_suffix(".json"), json.dumps({"by": held.by}) + "\n")
        with whole(path) as temporary:
            temporary.write_bytes(data)
        _sync(path.parent)
        return StoredBundle(held.digest, held.upstream, held.accepted, held.by, str(path))

    # ------------------------------------------------------------ documents

    def _folder(self, kind: Kind) -> Path:
        return self.root / HIDDEN.get(kind, kind)

    def get(self, kind: Kind, name: str) -> bytes | None:
        """A file's content."""
        try:
            return (self._folder(kind) / checked(name)).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, kind: Kind) -> list[str]:
        """Files of the kind's folder."""
        return sorted(path.name for path in self._folder(kind).glob("[!.]*"))

    def put(self, kind: Kind, name: str, data: bytes) -> None:
        """Whole or not at all."""
        with whole(self._folder(kind) / checked(name)) as temporary:
            temporary.write_bytes(data)

    def drop(self, kind: Kind, name: str) -> None:
        """Remove the file."""
        (self._folder(kind) / checked(name)).unlink(missing_ok=True)

    # ------------------------------------------------------------ log

    def log(self, event: Event) -> None:
        """Append a line, and see it onto the disk."""
        with (self.root / "audit.jsonl").open("a", encoding="utf8") as file:
            file.write(event.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def events(self) -> list[Event]:
        """The lines of `audit.jsonl`."""
        path = self.root / "audit.jsonl"
        return parse_events(path.read_text(encoding="utf8").splitlines()) if path.is_file() else []


def _sync(folder: Path) -> None:
    """A new name is on the disk when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
