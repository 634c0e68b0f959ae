"""Evidence that is kept beside a board, sealed: only what this user worked out is believed.

A board may come from git, from a backup, from somebody else; evidence in it that was not made here would put intervals, ranks
and hidden mistakes on the page that no predictions gave. So each piece is sealed with a key that never lies with a board, for
the digest of its bundle; what has no true seal is worked out again from the bundle.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from superbench.board.bundles.evidence import Evidence
from superbench.board.storage.base import Reading, Writing
from superbench.errors import CommandError
from superbench.system.user import cache_folder

KEY_BYTES = SEAL_BYTES = 32


@dataclass(frozen=True)
class SealedEvidence:
    """Keeps evidence by the seal of `key`; who has another key keeps their own beside it."""

    key: bytes

    @classmethod
    def of_user(cls) -> SealedEvidence:
        """With this user's key, which is made when it is first needed, in the cache folder; where none can be kept, with one
        that lasts as long as this object."""
        try:
            return cls(_kept(cache_folder() / "superbench" / "board.key"))
        except (OSError, CommandError):
            return cls(secrets.token_bytes(KEY_BYTES))

    def find(self, reader: Reading, bundle: str, task: str) -> Evidence | None:
        """The evidence for a task of the bundle with this digest; None where there is none with a true seal."""
        kept = reader.get("evidence", self._name(bundle, task)) or b""
        seal, data = kept[:SEAL_BYTES], kept[SEAL_BYTES:]
        return Evidence.parse(data) if hmac.compare_digest(seal, self._seal(bundle, task, data)) else None

    def keep(self, writer: Writing, bundle: str, task: str, evidence: Evidence) -> None:
        """In place of what was there."""
        data = evidence.to_bytes()
        writer.put("evidence", self._name(bundle, task), self._seal(bundle, task, data) + data)

    def _name(self, bundle: str, task: str) -> str:
        return f"{_of(bundle, task)}{hashlib.sha256(self.key).hexdigest()[:12]}"

    def _seal(self, bundle: str, task: str, data: bytes) -> bytes:
        return hmac.digest(self.key, f"{bundle} {task}\n".encode() + data, "sha256")


def forget(writer: Writing, bundle: str, task: str) -> None:
    """Remove the evidence for a task of a bundle, whoever sealed it."""
    for name in writer.names("evidence"):
        if name.startswith(_of(bundle, task)):
            writer.drop("evidence", name)


def _of(bundle: str, task: str) -> str:
    return f"{bundle[:32]}-{task}-"


def _kept(place: Path) -> bytes:
    """The key in the file; whoever comes first makes it."""
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f"{place.name}.{secrets.token_hex(8)}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(fresh, place)  # whole, and only if there is none
        fresh.unlink()
    key = place.read_bytes()
    if len(key) != KEY_BYTES:
        raise OSError(f"{place} is no key")
    return key
