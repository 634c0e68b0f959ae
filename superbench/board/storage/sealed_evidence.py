"""Sealed evidence: a board uses only stored evidence that this user computed.

A board may come from git, from a backup or from another person. Forged evidence in it would put intervals, ranks and item
errors on the page that the predictions do not support. Each piece of evidence is therefore sealed (HMAC) for the digest of its
bundle, with a key that is never stored with a board. Evidence without a valid seal is computed again from the bundle.
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
    """Reads and writes evidence sealed with `key`. A user with another key stores separate evidence in the same board."""

    key: bytes

    @classmethod
    def of_user(cls) -> SealedEvidence:
        """Uses this user's key in the cache folder, which is created at the first use.

        If the key cannot be stored, a temporary one is used that is lost with this object.
        """
        try:
            return cls(_key_in(cache_folder() / "superbench" / "board.key"))
        except (OSError, CommandError):
            return cls(secrets.token_bytes(KEY_BYTES))

    def find(self, reader: Reading, bundle: str, task: str) -> Evidence | None:
        """Returns the evidence for a task of the bundle with this digest; None if there is none with a valid seal."""
        stored = reader.get("evidence", self._name(bundle, task)) or b""
        seal, data = stored[:SEAL_BYTES], stored[SEAL_BYTES:]
        return Evidence.parse(data) if hmac.compare_digest(seal, self._seal(bundle, task, data)) else None

    def keep(self, writer: Writing, bundle: str, task: str, evidence: Evidence) -> None:
        """Seals and stores evidence; replaces earlier evidence of the same user."""
        data = evidence.to_bytes()
        writer.put("evidence", self._name(bundle, task), self._seal(bundle, task, data) + data)

    def _name(self, bundle: str, task: str) -> str:
        return f"{_of(bundle, task)}{hashlib.sha256(self.key).hexdigest()[:12]}"

    def _seal(self, bundle: str, task: str, data: bytes) -> bytes:
        return hmac.digest(self.key, f"{bundle} {task}\n".encode() + data, "sha256")


def forget(writer: Writing, bundle: str, task: str) -> None:
    """Removes the evidence for a task of a bundle, sealed with any key."""
    for name in writer.names("evidence"):
        if name.startswith(_of(bundle, task)):
            writer.drop("evidence", name)


def _of(bundle: str, task: str) -> str:
    return f"{bundle[:32]}-{task.replace('/', '.')}-"  # `ks/few-shot`; a task's own name contains no dot


def _key_in(path: Path) -> bytes:
    """Returns the key in a file; creates the file if it does not exist. Raises `OSError`."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)  # complete, and only if another process has not created it
        fresh.unlink()
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise OSError(f"{path} is not a key")
    return key
