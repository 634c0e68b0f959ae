"""Scores on parts of the test items: of one speaker, one label, a range of lengths, or of any column that a table gives.

The score of a part is that of the metric with weight 0 for all other items. Its interval resamples the groups (speakers) of the
part; if all its items are of one group, it resamples these items.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from superbench.contract import Prediction, Score
from superbench.contract.text import read_text
from superbench.errors import BadCorpus, first_of
from superbench.results.confusion import label_text
from superbench.results.intervals import interval

QUARTERS = 4
"""Ranges into which numbers are cut, with about as many items each."""
FEW_LABELS = 50
"""Labels are a kind of slice if there are at most so many, with two items each on average."""
LEAST = 5
"""A smaller part is never the worst one: its score is chance."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the items with its score and 95 % interval (None if there is none); `items` are their places. `kind`:
    `speaker`, `label`, `length (s)`, or the name of a column."""

    kind: str
    name: str
    items: tuple[int, ...]
    value: float
    interval: tuple[float, float] | None = None
    method: str = ""

    def with_interval(self, predictions: Sequence[Prediction], score: Score) -> Slice:
        """Returns the slice with its interval."""
        part = [predictions[place] for place in self.items]
        if len({(row.fold, group) for row in part for group in row.group}) < 2:
            part = [replace(row, group=(f"{row.id} {number}",)) for number, row in enumerate(part)]
        places = np.array(self.items)

        def reweighted(weights: np.ndarray) -> float:
            every = np.zeros(len(predictions))
            every[places] = weights
            return score.reweighted(every)

        low, high, method = interval(part, replace(score, value=self.value, reweighted=reweighted, parts=None))
        return replace(self, interval=(low, high) if math.isfinite(low) and math.isfinite(high) else None, method=method)


SHOWN = ("label", "split", "speaker")
"""Columns of a list of sounds that no table has to repeat: the results have them."""


def slices(
    predictions: Sequence[Prediction], score: Score, columns: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, list[Slice]]:
    """Returns the slices of every kind, the worst first, without intervals. `columns`: name -> id of an item -> value.

    A part whose score cannot be computed (an EER without targets) is left out, as is a kind with one part only.
    """
    parts = {"speaker": _by_speaker(predictions), "label": _by_label(predictions)}
    parts |= {name: _by_column(predictions, values) for name, values in (columns or {}).items()}
    found = {}
    for kind, by_name in parts.items():
        made = [_slice(kind, name, items, len(predictions), score) for name, items in by_name.items() if items]
        known = [part for part in made if math.isfinite(part.value)]
        if len(known) > 1:
            found[kind] = sorted(known, key=lambda part: part.value, reverse=not score.higher_is_better)
    return found


def worst(parts: Sequence[Slice]) -> Slice:
    """Returns the worst part of a kind: of those with five items or more, if there is one."""
    return next((part for part in parts if len(part.items) >= LEAST), parts[0])


def lengths_of_references(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Returns the number of words (or phones) in the reference of each item; empty if the references are no texts of words."""
    if not all(isinstance(row.reference, str) for row in predictions):
        return {}
    counts = {row.id: float(len(row.reference.split())) for row in predictions}
    return counts if max(counts.values(), default=0) > 1 else {}


def read_columns(path: Path) -> dict[str, dict[str, str]]:
    """Reads a table (CSV, TSV) with a column `id` (or `path`, as in a manifest): name of a column -> id -> text.

    Raises `BadCorpus` for a table without an id or without other columns.
    """
    lines = read_text(path).split("\n")
    rows = list(csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
    names = list(rows[0]) if rows else []
    key = next((name for name in ("id", "path") if name in names), None)
    others = [name for name in names if name not in ("id", "path", *SHOWN) and name]
    if key is None or not others:
        raise BadCorpus(
            f"{path}: expected a header with a column id (or path) and others to slice by, such as snr, beside "
            f"{', '.join(SHOWN)}, which are shown anyway; found {first_of(names) or 'nothing'}."
        )
    return {name: {str(row[key]): str(row[name]) for row in rows if row[name] not in (None, "")} for name in others}


# ---------------------------------------------------------------- the parts


def _slice(kind: str, name: str, items: Sequence[int], total: int, score: Score) -> Slice:
    weights = np.zeros(total)
    weights[list(items)] = 1.0
    return Slice(kind, name, tuple(items), score.reweighted(weights))


def _gathered(names: Iterable[tuple[int, str]]) -> dict[str, list[int]]:
    parts: dict[str, list[int]] = {}
    for place, name in names:
        parts.setdefault(name, []).append(place)
    return parts


def _by_speaker(predictions: Sequence[Prediction]) -> dict[str, list[int]]:
    return _gathered((place, group) for place, row in enumerate(predictions) for group in row.group)


def _by_label(predictions: Sequence[Prediction]) -> dict[str, list[int]]:
    if all(isinstance(row.reference, list) and all(isinstance(tag, str) for tag in row.reference) for row in predictions):
        return _gathered((place, tag) for place, row in enumerate(predictions) for tag in row.reference)
    labels = [label_text(row.reference) for row in predictions]
    counts = Counter(labels)
    if len(counts) > FEW_LABELS or 2 * len(counts) > len(labels):
        return {}
    return _gathered(enumerate(labels))


def _by_column(predictions: Sequence[Prediction], values: Mapping[str, Any]) -> dict[str, list[int]]:
    """Cuts numbers into quarters; other values are names. The value of a trial is that of its second item, `a|b`."""
    known = {place: value for place, row in enumerate(predictions) if (value := _value(row.id, values)) is not None}
    numbers = {place: number for place, value in known.items() if (number := _number(value)) is not None}
    if len(numbers) < len(known) or len(set(numbers.values())) <= QUARTERS:
        return _gathered((place, str(value)) for place, value in known.items())
    edges = np.unique(np.quantile(list(numbers.values()), np.linspace(0, 1, QUARTERS + 1)))
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    inner = edges[1:-1]
    return _gathered((place, names[int(np.searchsorted(inner, number))]) for place, number in numbers.items())


def _value(name: str, values: Mapping[str, Any]) -> Any:
    return values.get(name, values.get(name.rpartition("|")[2]) if "|" in name else None)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
