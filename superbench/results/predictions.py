"""Writes and reads predictions as compressed lines of JSON, the file next to a result."""

from __future__ import annotations

import gzip
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from superbench.contract import Prediction
from superbench.errors import BadResult


def pack(predictions: Sequence[Prediction]) -> bytes:
    """Return predictions as gzipped JSON lines, sorted by (fold, id, k, draw); the same predictions give the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as file:
        for item in sorted(predictions, key=in_order):
            file.write((json.dumps(_line(item), ensure_ascii=False, allow_nan=False) + "\n").encode())
    return buffer.getvalue()


def in_order(prediction: Prediction) -> tuple[str, str, float, int]:
    """Return the sort key of a prediction: fold, id, number of examples, draw."""
    k = -1 if prediction.k is None else math.inf if prediction.k == "all" else prediction.k
    return prediction.fold, prediction.id, k, prediction.draw or 0


def _line(item: Prediction) -> dict[str, Any]:
    line = {
        "id": item.id, "fold": item.fold, "group": list(item.group),
        "reference": item.reference, "prediction": item.prediction,
    }  # fmt: skip
    also = {"also": dict(item.also)} if item.also else {}
    return line | also | ({"k": item.k, "draw": item.draw} if item.k is not None else {})


def read_predictions(path: Path) -> list[Prediction]:
    """Read the predictions of a file, in its order; raises `BadResult` if the file has another format."""
    try:
        with gzip.open(path, "rt", encoding="utf8") as file:
            rows = [json.loads(line, parse_constant=_no_constant) for line in file]
        return [
            Prediction(
                id=r["id"],
                fold=r["fold"],
                group=tuple(r["group"]),
                reference=r["reference"],
                prediction=r["prediction"],
                also=r.get("also", {}),
                k=r.get("k"),
                draw=r.get("draw"),
            )
            for r in rows
        ]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise BadResult(f"{path} is not a predictions file: {error}. Run the task again.") from error


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")
