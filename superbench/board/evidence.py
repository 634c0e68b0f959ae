"""What scoring a result again left behind, in a form that can be kept: the replicates of each of its metrics.

A file is one line of JSON and the replicates as little-endian doubles.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from superbench import __version__
from superbench.probing.intervals import Replicates


@dataclass(frozen=True)
class Evidence:
    """The replicates by metric, the digest of the references that were used, and whether they were the board's own."""

    replicates: dict[str, Replicates]
    labels: str
    own: bool

    def to_bytes(self) -> bytes:
        """As a file."""
        head = {
            "superbench": __version__, "labels": self.labels, "own": self.own,
            "metrics": {
                metric: {
                    "values": len(one.values), "groups": one.groups, "design": one.design,
                    "folds": None if one.folds is None else one.folds.tolist(),
                }
                for metric, one in self.replicates.items()
            },
        }  # fmt: skip
        values = [one.values.astype("<f8").tobytes() for one in self.replicates.values()]
        return b"\n".join([json.dumps(head).encode(), b"".join(values)])

    @classmethod
    def parse(cls, data: bytes) -> Evidence | None:
        """From a file; None if it was made by another version, or is damaged: it can be made again."""
        line, _, rest = data.partition(b"\n")
        try:
            head = json.loads(line)
            counts = [facts["values"] for facts in head["metrics"].values()]
            if head["superbench"] != __version__ or len(rest) != 8 * sum(counts):
                return None
            parts = np.split(np.frombuffer(rest, "<f8"), np.cumsum(counts)[:-1])
            found = {
                metric: Replicates(
                    values, facts["groups"], facts["design"], None if facts["folds"] is None else np.array(facts["folds"], int)
                )
                for (metric, facts), values in zip(head["metrics"].items(), parts, strict=True)
            }
            return cls(found, head["labels"], head["own"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
