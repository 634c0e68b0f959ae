"""Comparing rows on the page: paired differences equal those of Python, and the radar distinguishes the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from superbench.board.page import draws
from superbench.results.intervals import Replicates, jackknife_variance


def tick(page: Any, name: str, table: int = 0) -> None:
    page.locator(".group").nth(table).get_by_label(f"Compare {name}", exact=True).check()


def line(page: Any, key: str) -> Any:
    return page.locator("#comparison tbody tr").nth(
        page.evaluate(f"visibleColumns(groups[0]).findIndex((c) => c.key === '{key}')")
    )


def test_rows_of_one_table_are_compared_with_the_first(page: Any, board: dict[str, Any], until: Any) -> None:
    until("document.querySelectorAll('#table-1 tbody tr').length === 61")
    tick(page, "Published 3", 1)
    tick(page, "fbank")  # of another table: takes the place of the one before
    tick(page, "tera")
    tick(page, "apc")
    assert page.locator(".group input:checked").count() == 3
    assert page.locator("#comparison tbody tr").count() == 11
    values = {row["name"]: row["cells"]["pr.per"]["value"] for row in board["groups"][0]["rows"]}
    text = line(page, "pr.per").inner_text()
    for name in ("tera", "apc"):
        assert f"{values[name] - values['fbank']:.1f}".replace("-", "−") in text
    assert line(page, "pr.per").locator("span.better:not(.bar)").count() == 2  # fewer errors
    page.get_by_role("button", name="make it the reference").first.click()
    assert "the reference" in page.locator("#comparison thead th").nth(1).inner_text()
    assert page.locator("#comparison thead th").nth(1).inner_text().strip().startswith("tera")
    assert line(page, "pr.per").locator("span.worse:not(.bar)").count() >= 1
    page.keyboard.press("Escape")
    assert page.locator("#radar").is_hidden()
    assert page.locator(".group input:checked").count() == 0


def test_a_paired_difference_is_surer_than_two_intervals(page: Any) -> None:
    tick(page, "fbank")
    tick(page, "mfcc")
    assert line(page, "ks.accuracy").locator("span.better:not(.bar)").count() == 1  # the same items: it is real
    assert page.evaluate(
        "groups[0].rows[0].cells['ks.accuracy'].hi > groups[0].rows[1].cells['ks.accuracy'].lo"
    )  # though they overlap
    assert "[" in line(page, "ks.accuracy").inner_text()
    assert "[" not in line(page, "asr.wer").inner_text()  # no draws there: no interval of the difference


def pair(values: Sequence[np.ndarray], folds: np.ndarray | None, groups: int) -> list[Replicates]:
    return [Replicates(one, groups, "d", folds) for one in values]


@pytest.mark.parametrize("folds", [None, np.repeat([0, 1], 8)], ids=["bootstrap", "jackknife"])
@pytest.mark.parametrize("most", [1000, 120])
def test_the_interval_on_the_page_is_that_of_the_replicates(
    board: dict[str, Any], show: Any, folds: np.ndarray | None, most: int
) -> None:
    random = np.random.default_rng(11)
    count, groups = (1000, 40) if folds is None else (16, 16)
    together = random.normal(60, 4, count)
    values = [together + random.normal(0, 1, count), together + random.normal(0, 1, count) + 2]
    values[0][3] = np.nan
    drawn = pair(values, folds, groups)
    board["groups"][0]["behind"]["draws"] = {"ks.accuracy": draws.column({0: drawn[0], 1: drawn[1]}, most)}
    found = show(board).evaluate(
        "difference(groups[0], groups[0].columns.find((c) => c.key === 'ks.accuracy'), ...groups[0].rows.slice(0, 2))"
    )
    both = values[1] - values[0]
    if folds is None:
        kept = both[:most][np.isfinite(both[:most])]
        variance, quantile = kept.var(ddof=1) * 40 / 39, 2.0226909  # Student's t, 39 degrees of freedom
    else:
        variance, quantile = jackknife_variance(both, folds), 2.1447867  # 14
    half = quantile * variance**0.5
    rows = board["groups"][0]["rows"]
    middle = rows[1]["cells"]["ks.accuracy"]["value"] - rows[0]["cells"]["ks.accuracy"]["value"]
    assert found["difference"] == pytest.approx(middle)
    assert [found["lo"], found["hi"]] == pytest.approx([middle - half, middle + half], rel=1e-3)


def test_rows_that_share_no_test_items_get_no_interval_of_their_difference(board: dict[str, Any], show: Any) -> None:
    one, other = (Replicates(np.arange(30.0), 30, design) for design in ("a", "b"))
    assert draws.column({0: one, 1: other}, 1000) is None
    assert draws.column({0: one}, 1000) is None
    board["groups"][0]["behind"]["draws"] = {}
    page = show(board)
    tick(page, "fbank")
    tick(page, "mfcc")
    assert "a cautious rule" in page.locator("#comparison").inner_text()
    assert line(page, "ks.accuracy").locator("span.unsure:not(.bar)").count() == 1


def test_the_boards_own_test_of_a_pair_goes_first(board: dict[str, Any], show: Any) -> None:
    board["groups"][0]["pairs"] = {"ks.accuracy": [[4, 5, -10.0, 1.5, 0.2]]}
    page = show(board)
    tick(page, "apc")
    tick(page, "tera")
    text = line(page, "ks.accuracy").inner_text()
    assert "p 0.20 among all pairs" in text
    found = page.evaluate(
        "difference(groups[0], groups[0].columns.find((c) => c.key === 'ks.accuracy'), groups[0].rows[4], groups[0].rows[5])"
    )
    assert found["hi"] - found["lo"] == pytest.approx(3.0)


def test_the_radar_tells_rows_apart_without_colour(page: Any) -> None:
    for name in ("apc", "tera", "fbank"):
        tick(page, name)
    page.locator("#radar").scroll_into_view_if_needed()
    page.wait_for_selector("#radar polygon.area")
    assert page.locator("#radar svg").get_attribute("aria-label").startswith("Radar of apc, tera and fbank over PR")
    dashes = page.locator("#radar polygon.area").evaluate_all(
        "areas => areas.map((area) => area.getAttribute('stroke-dasharray'))"
    )
    assert len(set(dashes)) == 3
    shapes = page.locator("#radar g > path:first-of-type").evaluate_all(
        "paths => paths.map((path) => path.getAttribute('d').replace(/[\\d.-]+/g, ''))"
    )
    assert len(set(shapes)) == 3


def test_no_more_rows_than_the_palette_tells_apart(page: Any) -> None:
    for name in ("fbank", "mfcc", "apc:untrained", "mockingjay", "apc", "tera"):
        tick(page, name)
    page.locator(".group").first.locator("tbody input").last.check()
    assert page.locator(".group input:checked").count() == 6
    assert page.evaluate("state.picked.map((row) => row.name)")[0] == "mfcc"  # the oldest choice went
