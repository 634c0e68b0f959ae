"""Results to submit to boards: keyword spotting by models of known skill, as `superbench run` would have written them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import doubles
import pytest

from superbench.contract import Prediction
from superbench.results import Result, write_result


@pytest.fixture(scope="session")
def a_result() -> Callable[..., Result]:
    """`doubles.made`: a result by a model of known skill."""
    return doubles.made


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
