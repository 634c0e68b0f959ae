"""The board inside a notebook: the complete page in a frame, with its script and without network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from superbench import Board


def test_the_page_works_in_the_frame_that_a_notebook_shows(
    tab: tuple[Any, list[str]], a_folder: Callable[..., Path], tmp_path: Path
) -> None:
    results = a_folder("apc", 40).parent
    a_folder("fbank", 12)
    board = Board(tmp_path / "board")
    board.submit(results)
    opened, faults = tab
    (tmp_path / "cell.html").write_text(f"<!doctype html><meta charset=utf-8>{board._repr_html_()}", encoding="utf-8")
    opened.goto((tmp_path / "cell.html").as_uri())
    frame = opened.frame_locator("iframe")
    frame.locator("a", has_text="apc").first.click()
    frame.locator("#view", has_text="apc").get_by_text("Keyword spotting").first.wait_for()
    opened.goto("about:blank")
    said, faults[:] = list(faults), []
    assert said == []
