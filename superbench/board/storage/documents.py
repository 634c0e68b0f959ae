"""What a board keeps beside its bundles, and under which names: its own references."""

from __future__ import annotations

import re

from superbench.board.bundles.evidence import Evidence
from superbench.board.bundles.references import References
from superbench.board.storage.base import Reading
from superbench.errors import Malformed, Refusal, StoreError


def document_name(task: str, fingerprint: str) -> str:
    """The references of a task's data."""
    return f"{task}-{re.sub(r'[^A-Za-z0-9_-]', '_', fingerprint)}"[:150]


def references_for(storage: Reading, task: str, fingerprint: str) -> References | None:
    """The board's own references for a task's data; None where it has none for the task at all.

    Raises `Refusal` for data that are not among those that it has references for, `StoreError` for references that are damaged.
    """
    name = document_name(task, fingerprint)
    own = storage.get("references", name)
    if own is not None:
        try:
            return References.parse(own, f"references/{name}")
        except Malformed as error:  # no word about whoever is scored with them
            raise StoreError(f"The board's own references are damaged: {error}") from error
    if there := _data_of(storage, task):
        raise Refusal(
            f"its data have the fingerprint {fingerprint:.40}, which this board does not know; it has references for "
            f"{', '.join(there)}. Was it run on the same copy of the corpora?",
            "references",
        )
    return None


def _data_of(storage: Reading, task: str) -> list[str]:
    """Fingerprints of the data that a board has references of a task for."""
    found = []
    for name in storage.names("references"):
        if name.startswith(document_name(task, "")):
            head = References.head(storage.get("references", name) or b"")
            found += [head["fingerprint"]] if head.get("task") == task else []
    return found


def usable(evidence: Evidence | None, own: References | None) -> Evidence | None:
    """Evidence, if it was made with the references that count now."""
    if evidence is None or evidence.own is (own is None):
        return None
    return evidence if own is None or evidence.labels == own.digest else None


def confirm(own: References | None, evidence: Evidence, task: str) -> None:
    """The references that count must be those that the evidence was made with: the keeper may have added others meanwhile."""
    if usable(evidence, own) is None:
        raise Refusal(f"{task}: the board's own references have changed meanwhile. Submit it again.", "references")
