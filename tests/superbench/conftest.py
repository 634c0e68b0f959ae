"""Results to submit to boards: keyword spotting by models of known skill, as `superbench run` would have written them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doubles
import pytest

from superbench.contract import Prediction
from superbench.results import Result, read_predictions, write_result


@pytest.fixture(scope="session")
def a_result() -> Callable[..., Result]:
    """`doubles.made`: a result by a model of known skill."""
    return doubles.made


@pytest.fixture
def a_shot_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write `doubles.made_at(...)` as `<tmp_path>/<where>/<name>/ks/<protocol>`; returns the upstream's folder."""

    def write(
        name: str, right: int, *, where: str = "results", predictions: list[Prediction] | None = None, **more: Any
    ) -> Path:
        result = doubles.made_at(name, right, **more)
        place = tmp_path / where / name.replace("/", "_")
        folder = place / "ks" / result.task.protocol
        folder.mkdir(parents=True, exist_ok=True)
        said = doubles.said_at(right, more.get("shots", doubles.SHOTS)) if predictions is None else predictions
        write_result(folder, result, said)
        return place

    return write


@pytest.fixture
def a_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write `made(...)` with its predictions as `<tmp_path>/<where>/<name>/ks`; returns the upstream's folder."""

    def write(
        name: str, right: int, *, where: str = "results", predictions: list[Prediction] | None = None, **more: Any
    ) -> Path:
        place = tmp_path / where / name.replace("/", "_")
        (place / "ks").mkdir(parents=True, exist_ok=True)
        said = doubles.said(right) if predictions is None else predictions
        write_result(place / "ks", doubles.made(name, right, **more), said)
        return place

    return write


@pytest.fixture(scope="session")
def rewritten() -> Callable[[Path, Callable[[dict[str, Any]], object]], Path]:
    """Make `change` to the record of keyword spotting of an upstream's folder, and seal it again, as a forger would."""

    def write(place: Path, change: Callable[[dict[str, Any]], object]) -> Path:
        record = json.loads((place / "ks/result.json").read_text())
        change(record)
        result = Result.model_validate(record)
        write_result(place / "ks", result, read_predictions(place / "ks" / result.predictions))
        return place

    return write
