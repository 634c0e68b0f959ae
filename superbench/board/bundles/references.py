"""References: the items of a test, their correct labels, and the other numbers that the scorer needs.

If a board has its own references for some data, it scores with these only; labels in a bundle are ignored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from superbench.board.bundles import strict_json
from superbench.board.bundles.archive import gunzipped
from superbench.contract import Prediction
from superbench.errors import Malformed, Refusal
from superbench.results import Result, pack
from superbench.results.draws import by_episode
from superbench.results.result import is_miniature

SHOWN = 3
SAMPLE = ":"
"""In the labels of evidence, between the digest of the board's own references and that of the items that were asked."""


@dataclass(frozen=True)
class References:
    """The labels of one task's test on one corpus.

    `labels` are predictions whose `prediction` is None, by (fold, id). `miniature`: whether the corpus is a synthetic
    miniature; None in files of earlier versions, which did not store it.
    """

    task: str
    fingerprint: str
    labels: Mapping[tuple[str, str], Prediction]
    facts: Mapping[str, float]
    miniature: bool | None = None

    @cached_property
    def digest(self) -> str:
        """Digest of items, groups, labels and facts: results with the same digest were scored with the same references."""
        return digest(list(self.labels.values()), self.facts)

    def to_bytes(self) -> bytes:
        """Returns the content of the file: a line of facts, then compressed lines as in a predictions file."""
        head = {"task": self.task, "fingerprint": self.fingerprint, "facts": dict(self.facts), "miniature": self.miniature}
        return json.dumps(head, ensure_ascii=False, allow_nan=False).encode() + b"\n" + pack(list(self.labels.values()))

    @classmethod
    def of(cls, result: Result, predictions: Sequence[Prediction]) -> References:
        """Takes the references from a trusted result. Raises `Refusal` if an id occurs twice or has no reference.

        Where nothing was trained, all draws answer the same items; those of the first are taken."""
        predictions = first_draw(predictions)
        labels = {
            (line.fold, line.id): Prediction(
                id=line.id, fold=line.fold, group=line.group, reference=line.reference, prediction=None
            )
            for line in predictions
        }
        if len(labels) != len(predictions) or any(line.reference is None for line in predictions):
            raise Refusal(f"{result.task.name}: an id occurs twice, or has no reference. Run the task again.", "ids")
        return cls(result.task.name, result.data.fingerprint, labels, facts_of(result), is_miniature(result))

    @staticmethod
    def head(data: bytes) -> dict[str, Any]:
        """Reads only the first line of a file (task, fingerprint, facts); empty if the file is damaged."""
        try:
            head = json.loads(data.partition(b"\n")[0])
        except ValueError:
            return {}
        return head if isinstance(head, dict) else {}

    @classmethod
    def parse(cls, data: bytes, where: str) -> References:
        """Reads the references in a file; raises `Malformed`."""
        from superbench.board.bundles.bundle import predictions_of

        line, _, rest = data.partition(b"\n")
        head = strict_json.loads(line, where)
        try:
            task, fingerprint, facts = head["task"], head["fingerprint"], head["facts"]
        except (TypeError, KeyError) as error:
            raise Malformed(f"{where} contains no references: {error} is missing. Add them again.", "references") from error
        labels = predictions_of(gunzipped(rest, where), where)
        return cls(task, fingerprint, {(label.fold, label.id): label for label in labels}, facts, head.get("miniature"))

    def applied(self, predictions: Sequence[Prediction], *, part: bool = False) -> list[Prediction]:
        """Returns the predictions with these labels and groups, matched by id, in the order of the references.

        Raises `Refusal` if an id is unknown or occurs twice, or is missing unless the predictions are of a `part` of the test.
        """
        predicted = {(line.fold, line.id): line for line in predictions}
        missing, unknown = self.labels.keys() - predicted.keys(), predicted.keys() - self.labels.keys()
        missing = set() if part else missing
        if len(predicted) != len(predictions):
            raise Refusal("it contains two predictions for the same id", "ids")
        if missing or unknown:
            parts = [
                f"{len(ids)} {word} ({_examples(ids)})" for ids, word in ((missing, "missing"), (unknown, "unknown")) if ids
            ]
            raise Refusal(
                f"its ids are not those of the test, which has {len(self.labels)}: {', '.join(parts)}. "
                "Was it run on another corpus, or on a part of it?",
                "ids",
            )
        return [
            replace(predicted[key], id=label.id, fold=label.fold, group=label.group, reference=label.reference)
            for key, label in self.labels.items()
            if key in predicted
        ]


def first_draw(predictions: Sequence[Prediction]) -> Sequence[Prediction]:
    """Returns the predictions of the first draw of the smallest K; all of them if heads were trained."""
    return next(iter(by_episode(predictions).values()), [predictions])[0]


def is_sampled(result: Result) -> bool:
    """Returns whether at most `MOST_ITEMS` items of test were asked, a sample that is the same for every model."""
    return result.task.protocol == "in-context"


def _examples(ids: set[tuple[str, str]] | frozenset[tuple[str, str]]) -> str:
    names = sorted(name for _, name in ids)
    return ", ".join(f"{name:.60}" for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def facts_of(result: Result) -> dict[str, float]:
    """Returns the other numbers that the scorer needs, from the passport; raises `Refusal` if they are not numbers."""
    facts = result.data.passport.facts
    if not isinstance(facts, dict) or not all(isinstance(value, int | float) for value in facts.values()):
        raise Refusal("the facts in its passport are not numbers", "schema")
    return dict(facts)


def predicted(predictions: Sequence[Prediction]) -> tuple[str, ...]:
    """Returns a digest of all predictions; where nothing was trained, one of each K: a copy remains a copy if a K is left out.
    The order of the lines does not matter, nor do the numbers of the draws."""
    episodes = list(by_episode(predictions).items()) or [("", [list(predictions)])]
    return tuple(_digest([k, sorted(_digest(sorted(map(_answer, draw))) for draw in draws)]) for k, draws in episodes)


def _answer(line: Prediction) -> str:
    return json.dumps([line.fold, line.id, line.prediction], sort_keys=True)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


def digest(predictions: Sequence[Prediction], facts: Mapping[str, float]) -> str:
    """Returns a digest of the items with their groups and references, and of the facts; the order does not matter."""
    lines = sorted(json.dumps([line.fold, line.id, line.group, line.reference], sort_keys=True) for line in predictions)
    return hashlib.sha256(json.dumps([lines, sorted(facts.items())]).encode()).hexdigest()[:32]
