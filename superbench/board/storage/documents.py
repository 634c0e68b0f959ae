"""The board's own references: names of their documents, look-up, and whether evidence was computed with them."""

from __future__ import annotations

import re

from superbench.board.bundles.evidence import Evidence
from superbench.board.bundles.references import SAMPLE, References
from superbench.board.storage.base import Reading
from superbench.errors import Malformed, Refusal, StoreError


def document_name(task: str, fingerprint: str) -> str:
    """Returns the name of the document with the references of a task's data."""
    return f"{task}-{re.sub(r'[^A-Za-z0-9_-]', '_', fingerprint)}"[:150]


def references_for(storage: Reading, task: str, fingerprint: str) -> References | None:
    """Returns the board's own references for a task's data; None if it has no references of the task.

    Raises `Refusal` if it has references of the task for other data only, `StoreError` if the references are damaged.
    """
    name = document_name(task, fingerprint)
    own = storage.get("references", name)
    if own is not None:
        try:
            return References.parse(own, f"references/{name}")
        except Malformed as error:  # a fault of the board, not of the bundle that is scored
            raise StoreError(f"The board's own references are damaged: {error}") from error
    if fingerprints := _data_of(storage, task):
        raise Refusal(
            f"its data have the fingerprint {fingerprint:.40}; this board has references for "
            f"{', '.join(fingerprints)}. Was it run on the same copy of the corpora?",
            "references",
        )
    return None


def _data_of(storage: Reading, task: str) -> list[str]:
    """Returns the fingerprints of the data for which a board has references of a task."""
    fingerprints = []
    for name in storage.names("references"):
        if name.startswith(document_name(task, "")):
            head = References.head(storage.get("references", name) or b"")
            fingerprints += [head["fingerprint"]] if head.get("task") == task else []
    return fingerprints


def usable(evidence: Evidence | None, own: References | None) -> Evidence | None:
    """Returns the evidence if it was computed with the current references, else None."""
    if evidence is None or evidence.own is (own is None):
        return None
    return evidence if own is None or evidence.labels.partition(SAMPLE)[0] == own.digest else None


def confirm(own: References | None, evidence: Evidence, task: str) -> None:
    """Raises `Refusal` if the evidence was computed with other references: the keeper may have added new ones since."""
    if usable(evidence, own) is None:
        raise Refusal(f"{task}: the board's own references have changed since the examination. Submit it again.", "references")
