"""What a board knows of the test itself: which items there are, what is right, and the numbers that the scorer needs besides.

Where a board holds references of its own for some data, they alone count; labels that come with a bundle are not looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from superbench.board.bundles import strict_json
from superbench.board.bundles.archive import gunzipped
from superbench.contract import Prediction
from superbench.errors import Malformed, Refusal
from superbench.results import Result, pack
from superbench.results.result import is_miniature

SHOWN = 3


@dataclass(frozen=True)
class References:
    """The labels of one task's test on one corpus. `labels` are predictions whose `prediction` is None, by (fold, id);
    `miniature`: is it a synthetic one? None where an earlier version did not note it."""

    task: str
    fingerprint: str
    labels: Mapping[tuple[str, str], Prediction]
    facts: Mapping[str, float]
    miniature: bool | None = None

    @cached_property
    def digest(self) -> str:
        """Of items, groups, labels and facts: results with the same digest were scored on the same truth."""
        return digest(list(self.labels.values()), self.facts)

    def to_bytes(self) -> bytes:
        """As a file: a line of facts, then gzipped lines as in a predictions file."""
        head = {"task": self.task, "fingerprint": self.fingerprint, "facts": dict(self.facts), "miniature": self.miniature}
        return json.dumps(head, ensure_ascii=False, allow_nan=False).encode() + b"\n" + pack(list(self.labels.values()))

    @classmethod
    def of(cls, result: Result, predictions: Sequence[Prediction]) -> References:
        """Those of a result that somebody trusts."""
        labels = {(one.fold, one.id): Prediction(one.id, one.fold, one.group, one.reference, None) for one in predictions}
        if len(labels) != len(predictions) or any(one.reference is None for one in predictions):
            raise Refusal(f"{result.task.name}: an id stands twice, or has no reference. Run the task again.", "ids")
        return cls(result.task.name, result.data.fingerprint, labels, facts_of(result), is_miniature(result))

    @staticmethod
    def head(data: bytes) -> dict[str, Any]:
        """The first line of a file alone: task, fingerprint, facts; empty for a file that is damaged."""
        try:
            found = json.loads(data.partition(b"\n")[0])
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @classmethod
    def parse(cls, data: bytes, where: str) -> References:
        """The references in a file; raises `Malformed`."""
        from superbench.board.bundles.bundle import predictions_of

        line, _, rest = data.partition(b"\n")
        head = strict_json.loads(line, where)
        try:
            task, fingerprint, facts = head["task"], head["fingerprint"], head["facts"]
        except (TypeError, KeyError) as error:
            raise Malformed(f"{where} holds no references: {error} is missing. Add them again.", "references") from error
        labels = predictions_of(gunzipped(rest, where), where)
        return cls(task, fingerprint, {(one.fold, one.id): one for one in labels}, facts, head.get("miniature"))

    def applied(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """The predictions with these labels and groups, by id, in the order of the references.

        Raises `Refusal` where an id is missing, unknown or there twice.
        """
        said = {(one.fold, one.id): one for one in predictions}
        missing, unknown = self.labels.keys() - said.keys(), said.keys() - self.labels.keys()
        if len(said) != len(predictions):
            raise Refusal("it predicts something twice", "ids")
        if missing or unknown:
            parts = [f"{len(ids)} {word} ({_some(ids)})" for ids, word in ((missing, "missing"), (unknown, "unknown")) if ids]
            raise Refusal(
                f"its ids are not those of the test, which has {len(self.labels)}: {', '.join(parts)}. "
                "Was it run on another corpus, or on part of it?",
                "ids",
            )
        return [
            Prediction(one.id, one.fold, one.group, one.reference, said[key].prediction, said[key].also)
            for key, one in self.labels.items()
        ]


def _some(ids: set[tuple[str, str]] | frozenset[tuple[str, str]]) -> str:
    names = sorted(name for _, name in ids)
    return ", ".join(f"{name:.60}" for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def facts_of(result: Result) -> dict[str, float]:
    """Numbers that the scorer needs besides, from the passport; raises `Refusal` where they are no numbers."""
    facts = result.data.passport.facts
    if not isinstance(facts, dict) or not all(isinstance(one, int | float) for one in facts.values()):
        raise Refusal("the facts in its passport are no numbers", "schema")
    return dict(facts)


def predicted(predictions: Sequence[Prediction]) -> str:
    """Digest of what was said of each item, in whatever order."""
    lines = sorted(json.dumps([one.fold, one.id, one.prediction], sort_keys=True) for one in predictions)
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:32]


def digest(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> str:
    """Of what was to be predicted, in whatever order."""
    lines = sorted(json.dumps([one.fold, one.id, one.group, one.reference], sort_keys=True) for one in predictions)
    return hashlib.sha256(json.dumps([lines, sorted(facts.items())]).encode()).hexdigest()[:32]
