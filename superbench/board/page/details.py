"""Details behind a board's numbers: origin of a model, receipts, layer weights, and the items with the most errors.

Texts of corpora are shown for the synthetic miniatures only: the licences of the real corpora forbid it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from superbench.board.page import draws
from superbench.contract import Prediction
from superbench.results import Result
from superbench.results.confusion import confusion
from superbench.results.intervals import Replicates, replicates
from superbench.results.item_errors import item_errors
from superbench.results.own import task_of
from superbench.results.published import records
from superbench.results.result import is_miniature
from superbench.results.rows import Column, Row, spec_of


@dataclass(frozen=True, slots=True)
class ScoredPredictions:
    """A result that was scored again: its predictions, the error of each (see `item_errors`; empty if the board does not
    publish them), and the replicates of its metrics."""

    predictions: Sequence[Prediction]
    errors: np.ndarray
    replicates: Mapping[str, Replicates]

    @classmethod
    def of(cls, result: Result, predictions: Sequence[Prediction]) -> ScoredPredictions:
        """Scores and resamples the predictions."""
        scores = task_of(result).score(predictions, result.data.passport.facts)
        drawn = {metric: replicates(predictions, score) for metric, score in scores.items()}
        return cls(predictions, item_errors(predictions, scores[result.primary]), drawn)


Scored = Callable[[Result], ScoredPredictions | None]
"""Returns the scored predictions of a result, if the board has them."""

HARDEST = 10
MOST_FAILED = 10
"""The most failed checks of a model that the page lists."""
LONGEST = 90
LABELS = 12
"""Labels of a confusion matrix on the page; further ones are one class."""
MOST_ROWS = 40
"""The most rows of a table that have confusion matrices."""


# ---------------------------------------------------------------- a row


def facts(row: Row) -> dict[str, Any]:
    """Returns family, pretraining corpus and real-time factor (`rtf`) of a row; None if unknown."""
    if row.origin == "published":
        record = _published().get((row.name, row.source), {})
        return {"family": record.get("family") or None, "corpus": record.get("pretraining_corpus") or None, "rtf": None}
    efficiency = [result.efficiency for result in row.results.values()]
    return {
        "family": _family(row),
        "corpus": next((facts["corpus"] for facts in efficiency if facts.get("corpus")), None),
        "rtf": next((facts["real_time_factor"] for facts in efficiency if facts.get("real_time_factor")), None),
    }


def seen(corpus: str | None, columns: Sequence[Column]) -> list[str]:
    """Returns the tasks whose corpus is among the data that a model declares: their names begin with the same word.

    >>> from superbench.results.rows import columns
    >>> seen("LibriSpeech 960 h, VoxCeleb2", [column for column in columns() if column.task in ("asr", "er")])
    ['asr']
    """
    names = {word.strip().partition(" ")[0].lower() for word in (corpus or "").split(",")} - {""}
    tasks = {column.task: column.corpus.partition(" ")[0].lower() for column in columns}
    return sorted(task for task, first in tasks.items() if first in names)


def examination(row: Row) -> str:
    """Returns how many checks of the model hold, as its results say, and which do not; which results have no examination."""
    missing = sorted(name.upper() for name, result in row.results.items() if not result.certificate)
    checks = [(name, check) for _, result in sorted(row.results.items()) for name, check in result.certificate.items()]
    failed = dict.fromkeys(_failed(name, check) for name, check in checks if check.get("holds") is not True)
    names = {name for name, _ in checks}
    held = names - {name for name, check in checks if check.get("holds") is not True}
    parts = [f"{len(held)} of {len(names)} checks hold" if names else "", *list(failed)[:MOST_FAILED]]
    if len(failed) > MOST_FAILED:
        parts.append(f"and {len(failed) - MOST_FAILED} more that do not hold")
    return "; ".join(filter(None, [*parts, f"no examination for {', '.join(missing)}" if missing else ""]))


def _failed(name: str, check: Mapping[str, Any]) -> str:
    told = ", ".join(filter(None, [check.get("measured"), check.get("action")]))
    return f"{name:.60} does not hold" + (f" ({told:.200})" if told else "")


@cache
def _published() -> Mapping[tuple[str, str], Mapping[str, str]]:
    return {(record["upstream"], record["source"]): record for record in records()}


def _family(row: Row) -> str | None:
    if row.kind == "spectral":
        return row.kind
    spec = next(filter(None, map(spec_of, row.results.values())), None)
    return None if spec is None else spec.hub or spec.name.rpartition(":")[2]


def receipts(row: Row) -> dict[str, Any]:
    """Returns by task: the sweep and its choices, the layer weights, the seconds of each step, notes and deviations."""
    return {
        name: {
            "sweep": sweep(result),
            "layers": _mean_mix(result.layer_weights),
            "seconds": {key: round(value, 1) for key, value in result.seconds.model_dump().items()},
            "notes": list(result.notes),
            "deviations": list(result.deviations),
        }
        for name, result in row.results.items()
    }


def sweep(result: Result) -> dict[str, Any]:
    """Returns the points of a sweep by column, in compact form: a board has a hundred points for each model.

    A column is a list if its values differ, else one value; a default value is left out. `chosen`: indices of the points.
    """
    points = [receipt.model_dump() for receipt in result.sweep]
    columns: dict[str, list[Any]] = {key: [point[key] for point in points] for key in ("fold", "lr", "seed", "steps", "status")}
    columns["dev"] = [None if point["dev"] is None else float(f"{point['dev']:.5g}") for point in points]
    for key in dict.fromkeys(key for point in points for key in point["setting"]):
        columns[f"setting.{key}"] = [point["setting"].get(key) for point in points]
    defaults = {"fold": "all", "seed": 0, "status": None}
    compact = {
        key: values if any(value != values[0] for value in values) else values[0] for key, values in columns.items() if values
    }
    return {
        "points": len(points),
        "chosen": [place for place, point in enumerate(points) if _chosen(result, point)],
        **{key: value for key, value in compact.items() if key not in defaults or value != defaults[key]},
    }


def _chosen(result: Result, point: Mapping[str, Any]) -> bool:
    choice = result.chosen.get(point["fold"], {})
    same_setting = not point["setting"] or point["setting"] == choice.get("setting")
    return bool(point["lr"] == choice.get("lr") and point["seed"] == choice.get("seed") and same_setting)


def _mean_mix(mixes: Mapping[str, Sequence[float]]) -> list[float]:
    """Returns the layer weights averaged over folds."""
    kept = [mix for mix in mixes.values() if mix]
    return [round(float(weight), 4) for weight in np.mean(kept, axis=0)] if kept else []


# ---------------------------------------------------------------- a table of rows


def behind(rows: Sequence[Row], columns: Sequence[Column], scored: Scored | None) -> dict[str, Any]:
    """Returns what the rows of a table share: `data` and `hardest` items by task, `draws` by column and index of the row, the
    `confusion` matrices by task and index of the row.

    Texts of corpora are included only if every result is on a synthetic miniature.
    """
    most = draws.share(len(rows) * len(columns))
    hardest, drawn, confused = {}, {}, {}
    for task in dict.fromkeys(column.task for column in columns):
        answers = _answers(task, rows, scored)
        miniature = all(is_miniature(row.results[task]) for row in rows if task in row.results)
        if items := _hardest(answers, miniature):
            hardest[task] = items
        if len(rows) <= MOST_ROWS and (matrices := _confusions(task, rows, answers)):
            confused[task] = matrices
        for column in (column for column in columns if column.task == task):
            known = {
                place: scored_row.replicates[column.metric]
                for place, scored_row in answers.items()
                if column.metric in scored_row.replicates
            }
            if packed := draws.column(known, most):
                drawn[column.key] = packed
    return {"data": _data(rows), "hardest": hardest, "draws": drawn} | ({"confusion": confused} if confused else {})


def _confusions(task: str, rows: Sequence[Row], answers: Mapping[int, ScoredPredictions]) -> dict[str, Any]:
    """Returns the confusion matrix of each row of a classification task, by the index of the row. Rows whose labels the board
    does not publish have none."""
    matrices = {}
    for place, answered in answers.items():
        matrix = confusion(rows[place].results[task].primary, answered.predictions, LABELS) if len(answered.errors) else None
        if matrix is not None:
            matrices[str(place)] = {"labels": list(matrix.labels), "counts": matrix.counts, "left_out": matrix.left_out}
    return matrices


def _answers(task: str, rows: Sequence[Row], scored: Scored | None) -> dict[int, ScoredPredictions]:
    """Returns the scored predictions of a task by the index of the row in its table."""
    by_place = {place: scored(row.results[task]) for place, row in enumerate(rows) if scored and task in row.results}
    return {place: answers for place, answers in by_place.items() if answers is not None}


def _data(rows: Sequence[Row]) -> dict[str, Any]:
    """Returns by task the fingerprint and the number of items of each split, which all rows of a table share."""
    return {
        name: {"fingerprint": result.data.fingerprint, "items": dict(result.data.items)}
        for row in rows
        for name, result in row.results.items()
    }


# ---------------------------------------------------------------- the hardest items


def _hardest(answers: Mapping[int, ScoredPredictions], open_texts: bool) -> dict[str, Any] | None:
    """Returns the items with the largest mean error over the rows that share the most common test items.

    Items with equal error are sorted by the error of the best row.
    """
    items = {
        place: tuple((prediction.fold, prediction.id) for prediction in scored_row.predictions)
        for place, scored_row in answers.items()
        if len(scored_row.errors)
    }
    if not items:
        return None
    usual = Counter(items.values()).most_common(1)[0][0]
    kept = {place: answers[place] for place, tested in items.items() if tested == usual}
    errors = np.nan_to_num(np.stack([scored_row.errors for scored_row in kept.values()]))  # (row, item)
    mean = errors.mean(axis=0)
    order = sorted(range(len(mean)), key=lambda item: (-mean[item], -errors[0][item], item))
    hard = [item for item in order[:HARDEST] if mean[item] > 0]
    width = max(answers) + 1
    return {"of": len(kept), "items": [_item(item, errors[:, item], kept, width, open_texts) for item in hard]}


def _item(item: int, errors: np.ndarray, kept: Mapping[int, ScoredPredictions], width: int, open_texts: bool) -> dict[str, Any]:
    wrong = {place: bool(error >= 0.5) for place, error in zip(kept, errors, strict=True)}
    first = next(iter(kept.values())).predictions[item]
    shown: dict[str, Any] = {
        "id": first.id, "fold": first.fold, "error": round(float(errors.mean()), 3),
        "wrong": sum(wrong.values()),
        "by": "".join("-" if place not in wrong else "x" if wrong[place] else "o" for place in range(width)),
    }  # fmt: skip
    if open_texts and isinstance(first.reference, str | dict):
        outputs = Counter(_text(kept[place].predictions[item].prediction) for place, missed in wrong.items() if missed)
        shown |= {"reference": _text(first.reference), "said": [list(pair) for pair in outputs.most_common(2)]}
    return shown


def _text(value: Any) -> str:
    text = (
        ", ".join(map(str, value.values()))
        if isinstance(value, dict)
        else value
        if isinstance(value, str)
        else json.dumps(value)
    )
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
