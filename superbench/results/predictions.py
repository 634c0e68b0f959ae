"""Predictions as lines of JSON, packed: written beside a result, read back."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path

from superbench.contract import Prediction
from superbench.errors import BadResult


def pack(predictions: Sequence[Prediction]) -> bytes:
    """Predictions as gzipped JSON lines sorted by (fold, id); the same predictions give the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as file:
        for one in sorted(predictions, key=lambda one: (one.fold, one.id)):
            line = {
                "id": one.id, "fold": one.fold, "group": list(one.group),
                "reference": one.reference, "prediction": one.prediction,
            } | ({"also": dict(one.also)} if one.also else {})  # fmt: skip
            file.write((json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return buffer.getvalue()


def read_predictions(path: Path) -> list[Prediction]:
    """The predictions of a file, in its order; raises `BadResult` for anything that is not as written."""
    try:
        with gzip.open(path, "rt", encoding="utf8") as file:
            rows = [json.loads(line, parse_constant=_no_constant) for line in file]
        return [
            Prediction(r["id"], r["fold"], tuple(r["group"]), r["reference"], r["prediction"], r.get("also", {})) for r in rows
        ]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise BadResult(f"{path} is not a predictions file: {error}. Run the task again.") from error


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")
