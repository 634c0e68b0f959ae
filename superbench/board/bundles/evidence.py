"""Evidence of a scored result, in a form that can be stored: the replicates of each metric, and the error of each item.

A file contains one line of JSON, the replicates as little-endian doubles, and the errors as bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from superbench.__version__ import __version__
from superbench.results.intervals import Replicates


@dataclass(frozen=True)
class Evidence:
    """The replicates by metric, the digest of the references (`labels`), whether they are the board's own references
    (`own`), and the digests of the predictions (`predicted`, see
    `references.predicted`).

    `errors`, from 0 to 1 in steps of 1/255, are sorted by (fold, id): see `item_errors`. They are not stored if the references
    are the board's own: the items that are wrong would help to guess the labels of a hidden test set.
    """

    replicates: dict[str, Replicates]
    labels: str
    own: bool
    errors: np.ndarray = field(default_factory=lambda: np.empty(0))
    predicted: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Returns the content of the file."""
        head = {
            "superbench": __version__, "labels": self.labels, "own": self.own, "items": len(self.errors),
            "predicted": list(self.predicted),
            "metrics": {
                metric: {
                    "values": len(replicate.values), "groups": replicate.groups, "design": replicate.design,
                    "folds": None if replicate.folds is None else replicate.folds.tolist(),
                }
                for metric, replicate in self.replicates.items()
            },
        }  # fmt: skip
        values = [replicate.values.astype("<f8").tobytes() for replicate in self.replicates.values()]
        errors = np.rint(self.errors * 255).astype("u1").tobytes()
        return b"\n".join([json.dumps(head).encode(), b"".join(values) + errors])

    @classmethod
    def parse(cls, data: bytes) -> Evidence | None:
        """Reads a file; None if another version wrote it, or if it is damaged. The evidence can be computed again."""
        line, _, rest = data.partition(b"\n")
        try:
            head = json.loads(line)
            counts = [facts["values"] for facts in head["metrics"].values()]
            size = 8 * sum(counts)
            if head["superbench"] != __version__ or len(rest) != size + head["items"]:
                return None
            parts = np.split(np.frombuffer(rest[:size], "<f8"), np.cumsum(counts)[:-1])
            by_metric = {
                metric: Replicates(
                    values, facts["groups"], facts["design"], None if facts["folds"] is None else np.array(facts["folds"], int)
                )
                for (metric, facts), values in zip(head["metrics"].items(), parts, strict=True)
            }
            if not isinstance(head["predicted"], list):  # one digest of all draws, as earlier revisions wrote it
                return None
            errors = np.frombuffer(rest[size:], "u1") / 255
            return cls(by_metric, head["labels"], head["own"], errors, tuple(head["predicted"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
