"""What the page says of rows that share a rank."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from superbench.board.page.render import render


def one_leader_of_many(board: dict[str, Any], ties: int) -> dict[str, Any]:
    """The board's first table with `ties` rows of the first rank, and one more row that deviates from its recipe."""
    first = board["groups"][0]
    usual = first["rows"][0]
    first["rows"] = [copy.deepcopy(usual) | {"name": f"g{number}", "rank": 1} for number in range(ties)]
    first["rows"] += [
        copy.deepcopy(usual) | {"name": "second", "rank": ties + 1},
        copy.deepcopy(usual) | {"name": "short", "rank": None},
    ]
    for cell in first["rows"][-1]["cells"].values():
        cell["deviations"] = ["--max-steps 10"]
    first["behind"] = {}
    return board


@pytest.mark.parametrize(
    ("ties", "said"),
    [
        (1, "g0 ranks first"), (2, "g0 and g1 share"), (3, "g0, g1 and g2 share"),
        (48, "g0, g1, g2 and 45 more share the first rank"),
    ],
)  # fmt: skip
def test_the_headline_names_three_rows_and_counts_the_others(
    board: dict[str, Any], browser: Any, tmp_path: Path, ties: int, said: str
) -> None:
    (tmp_path / "board.html").write_text(render(one_leader_of_many(board, ties)), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "board.html").as_uri())
    assert page.locator(".headline").first.inner_text().startswith(said)
    page.close()


def test_places_of_a_model_count_ranked_rows_and_say_how_many_share_them(
    board: dict[str, Any], browser: Any, tmp_path: Path
) -> None:
    board = one_leader_of_many(board, 4)
    board["groups"][0]["rows"][0]["examination"] = "1 of 2 checks hold; finite does not hold"
    (tmp_path / "board.html").write_text(render(board), encoding="utf-8")
    page = browser.new_page()
    page.goto(f"{(tmp_path / 'board.html').as_uri()}#model=g0")
    text = page.locator("#view").inner_text()
    assert "1st of 5 by rank points, shared with 3 others" in text
    assert " of 6" not in text
    assert "of 5" in page.locator("#view .scores tbody").inner_text()
    assert "finite does not hold" in text
    page.close()
