"""What a board keeps beside its bundles, and under which names: references, digests of labels."""

from __future__ import annotations

import re

from superbench.board.evidence import Evidence
from superbench.board.references import References
from superbench.board.shelf import Reading
from superbench.errors import Malformed, Refusal, StoreError


def document_name(task: str, fingerprint: str) -> str:
    """References and labels of a task's data."""
    return f"{task}-{re.sub(r'[^A-Za-z0-9_-]', '_', fingerprint)}"[:150]


def known(shelf: Reading, task: str, fingerprint: str) -> References | str | None:
    """The board's own references for a task's data; else the digest of those that its results were scored on; else None.

    Raises `StoreError` for references that are damaged.
    """
    name = document_name(task, fingerprint)
    own = shelf.get("references", name)
    if own is not None:
        try:
            return References.parse(own, f"references/{name}")
        except Malformed as error:  # no word about whoever is scored with them
            raise StoreError(f"The board's own references are damaged: {error}") from error
    labels = shelf.get("labels", name)
    return None if labels is None else labels.decode()


def usable(evidence: Evidence | None, counting: References | str | None) -> Evidence | None:
    """Evidence, if it was made with the references that count now."""
    if evidence is None:
        return None
    labels = counting.digest if isinstance(counting, References) else counting
    return evidence if evidence.labels == labels or (labels is None and not evidence.own) else None


def confirm(counting: References | str | None, evidence: Evidence, task: str) -> None:
    """The references that count must be those that the evidence was made with: another submission may have come in between."""
    labels = counting.digest if isinstance(counting, References) else counting
    if labels is not None and labels != evidence.labels:
        raise Refusal(
            f"{task}: its ids or references are not those of other results on the same data, or the board's own have "
            "changed. Submit it again.",
            "references",
        )
