"""Speech is synthesised wherever the folder for temporary files lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstream.shared.espeak import Espeak


@pytest.mark.parametrize("length", [1, 40, 120, 200])
def test_a_long_path_of_temporary_files_makes_no_difference(tmp_path: Path, length: int) -> None:
    folder = tmp_path / ("x" * length)
    folder.mkdir()
    library = Espeak(folder)
    try:
        speech = library.say("hello", "name test\nlanguage en-us\n", 170)
    finally:
        library.close()
    assert len(speech.samples) > 1_000
