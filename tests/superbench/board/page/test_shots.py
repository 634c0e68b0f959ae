"""The sections for protocols that train nothing: a choice of K, places, differences, controls, the chart, the keyboard."""

from __future__ import annotations

from typing import Any

import pytest

HEADS = ("ks.accuracy", "asv.eer")
MODELS = [  # name, kind, params, series, updates, skill
    ("tiny", "pretrained", 300_000, None, None, 0.2),
    ("apc", "pretrained", 1_150_000, None, None, 0.4),
    ("large", "pretrained", 12_000_000, None, None, 0.7),
    ("apc:untrained", "untrained", 1_150_000, None, None, 0.1),
    ("fbank", "spectral", 0, None, None, 0.05),
    ("lm-1000", "pretrained", 5_000_000, "lm", 1_000, 0.15),
    ("lm-2000", "pretrained", 5_000_000, "lm", 2_000, 0.25),
    ("lm-4000", "pretrained", 5_000_000, "lm", 4_000, 0.45),
]


def cell(value: float, width: float, place: int | None, shared: int = 0, **more: Any) -> dict[str, Any]:
    found = {"value": value, "lo": value - width, "hi": value + width, "best": place == 1 and not shared, "unplaced": None,
             "controls": {}, "draws": 10, "setting": {"layer": 1}, "place": place, "shared": shared, "sure": True}  # fmt: skip
    return found | more


def at_k(k: Any, gain: float, *, deaf: bool = False) -> dict[str, Any]:
    order = sorted(range(len(MODELS)), key=lambda i: -MODELS[i][-1])
    rows = {}
    for i, (*_, skill) in enumerate(MODELS):
        value, place = skill * gain, order.index(i) + 1
        unplaced = "not above no sound" if deaf and i == 4 else None
        controls = {"no sound": 9.0, "wrong labels": 8.5} if deaf else {}
        more: dict[str, Any] = {"controls": controls, "unplaced": unplaced}
        rows[i] = {
            "mean": None if i == 3 and k == 1 else cell(value, 0.02, None if unplaced else place, unplaced=unplaced),
            "ks.accuracy": cell(100 * value, 2.0, place, **more),
            "asv.eer": cell(50 - 50 * value, 2.0, 1 if place < 3 else place, shared=1 if place < 3 else 0, **more),
        }
    names = range(len(MODELS))
    apart = lambda key, scale: [  # noqa: E731
        [a, b, scale * (rows[a][key]["value"] - rows[b][key]["value"]), 3.0 * scale / 100, 0.001]
        for a in names for b in names if a < b and rows[a].get(key) and rows[b].get(key)
    ]  # fmt: skip
    correlation = {"value": 0.9, "lo": 0.6, "hi": 1.0, "rows": 8, "tasks": 2}
    return {"k": k, "columns": list(HEADS), "rows": rows, "floors": {"ks.accuracy": 8.33, "asv.eer": 50.0},
            "pairs": {"mean": apart("mean", 1), "ks.accuracy": apart("ks.accuracy", 1), "asv.eer": apart("asv.eer", 1)},
            "correlations": {"mean": correlation, "ks.accuracy": {**correlation, "lo": None, "hi": None}}}  # fmt: skip


def section(protocol: str, title: str, *, deaf: bool = False, name: str | None = None) -> dict[str, Any]:
    rows = [
        {"name": name if name and i == 0 else model, "kind": kind, "params": params, "revision": "r", "series": series,
         "deviations": [], "copied": None, "updates": updates, "family": None, "corpus": None, "rtf": None}
        for i, (model, kind, params, series, updates, _) in enumerate(MODELS)
    ]  # fmt: skip
    shots = [at_k(k, gain, deaf=deaf) for k, gain in ((0, 0.1), (1, 0.3), (5, 0.6), (20, 0.8), ("all", 1.0))]
    return {"key": f"{protocol}-0", "protocol": protocol, "title": title, "note": "Nothing was trained.", "rows": rows,
            "controls": ["no sound", "wrong labels"] if deaf else [], "probes": "Miniature corpora", "shots": shots,
            "reason": ""}  # fmt: skip


@pytest.fixture
def shown(board: dict[str, Any], hostile: str, show: Any) -> Any:
    board["sections"] = [
        section("few-shot", "Few-shot, nothing trained", name=hostile), section("in-context", "In context", deaf=True)
    ]  # fmt: skip
    return show(board)


def names(page: Any, number: int = 0) -> list[str]:
    return [text.split("\n")[0] for text in page.locator(f"#shots-{number} tbody tr th .named").all_inner_texts()][:8]


def test_a_choice_of_k_changes_scores_and_the_address_and_the_keyboard_stays_where_it_was(shown: Any) -> None:
    assert shown.inner_text("#shots-0 .headline") == "At K = all, over 2 tasks, large ranks first."
    shown.select_option("#k-0", "5")
    assert shown.evaluate("location.hash") == "#k=5"
    assert shown.evaluate("document.activeElement.id") == "k-0"
    assert shown.inner_text("#shots-0 .headline") == "At K = 5, over 2 tasks, large ranks first."
    assert "42.0" in shown.inner_text("#shots-0 tbody tr:first-child")
    shown.goto(shown.url)
    shown.reload()
    assert shown.input_value("#k-0") == "5"


def test_rows_come_by_place_and_a_row_without_a_mean_comes_last(shown: Any) -> None:
    assert names(shown)[0] == "large"
    shown.select_option("#k-0", "1")
    assert names(shown)[-1] == "apc:untrained"
    last = shown.locator("#shots-0 tbody tr").nth(7)
    assert last.locator("td").nth(1).get_attribute("title") == "A task is missing, so there is no mean"


def test_differences_from_a_row_say_which_are_sure(shown: Any) -> None:
    shown.select_option("#against-0", label="difference from apc")
    row = shown.locator("#shots-0 tbody tr", has_text="large").inner_text()
    assert "+30.0" in row
    assert "better" in row
    assert "reference" in shown.locator("#shots-0 tbody tr", has_text="apc").first.inner_text()
    assert shown.evaluate("document.activeElement.id") == "against-0"


def test_in_context_has_its_controls_as_columns_and_a_row_below_no_sound_has_no_place(shown: Any) -> None:
    heads = shown.locator("#shots-1 thead th").all_inner_texts()
    assert [head for head in heads if "no sound" in head] == ["KS: no sound", "ASV: no sound"]
    row = shown.locator("#shots-1 .box tbody tr", has_text="fbank")
    assert "not above no sound" in row.inner_text()
    assert row.locator("td.rank").inner_text() == "–"


def test_a_control_has_a_column_only_beside_a_task_that_has_it(board: dict[str, Any], show: Any) -> None:
    narrow = section("in-context", "In context", deaf=True)
    for at in narrow["shots"]:
        for cells in at["rows"].values():
            cells["asv.eer"]["controls"] = {"wrong labels": 8.5}
    board["sections"] = [narrow]
    heads = show(board).locator("#shots-0 table.shots thead th").all_inner_texts()
    controls = [head for head in heads if ":" in head]
    assert controls == ["KS: no sound", "KS: wrong labels", "ASV: wrong labels"]
    assert show(board).locator("#shots-0 table.shots tbody tr").first.locator("th, td").count() == len(heads)


def test_the_mean_says_over_which_tasks_it_is(board: dict[str, Any], show: Any) -> None:
    uneven = section("few-shot", "Few-shot, nothing trained")
    uneven["shots"][0]["columns"] = ["asv.eer"]  # KS has no K = 0
    board["sections"] = [uneven]
    page = show(board)
    assert "averaged over KS, ASV;" in page.inner_text("#shots-0 .legend")
    told = "the tasks that have this K (K = 0: ASV; K = 1, 5, all: KS, ASV; compare heights within a line)"
    assert told in page.inner_text("#shots-0 .shot-card")
    page.select_option("#k-0", "0")
    assert "averaged over ASV;" in page.inner_text("#shots-0 .legend")
    board["sections"] = [section("few-shot", "Few-shot, nothing trained")]
    assert "the tasks that have this K (KS, ASV):" in show(board).inner_text("#shots-0 .shot-card")


def test_the_sections_are_told_to_those_who_do_not_see_them(shown: Any) -> None:
    """Roles, names and focus, as a reader of screens gets them: no region, chart or table without a name, cells under heads."""
    for number, title in enumerate(("Few-shot, nothing trained", "In context")):
        region = shown.get_by_role("region", name=title, exact=True)
        assert region.count() == 1
        assert region.get_by_role("combobox", name="Examples (K)").count() == 1
        table = region.get_by_role("region", name=f"Table: {title}, K = all").get_by_role("table")
        heads = table.get_by_role("columnheader").count()
        rows = table.locator("tbody tr")
        assert all(rows.nth(i).locator("th, td").count() == heads for i in range(rows.count()))
        assert table.get_by_role("rowheader").count() == rows.count()
        shown.locator(f"#shots-{number} .figure").scroll_into_view_if_needed()
        region.locator(".figure svg").wait_for()
        assert region.locator(".figure svg").get_attribute("aria-label")
        assert region.locator(".figure svg").get_attribute("role") == "img"
    shown.locator("#k-0").focus()
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.id") == "against-0"
    assert shown.evaluate(outline) != "none"
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.ariaLabel") == "Table: Few-shot, nothing trained, K = all"


def test_the_chart_has_a_line_for_each_k_against_size_or_updates(shown: Any) -> None:
    shown.locator("#shots-0 .figure").scroll_into_view_if_needed()
    chart = shown.locator("#shots-0 .figure svg")
    chart.wait_for()
    assert chart.locator("polyline").count() == 4  # K = 0, 1, 5, all; not 20
    assert sorted(chart.locator(".shot-label").all_text_contents()) == ["K = 0", "K = 1", "K = 5", "K = all"]
    said = chart.get_attribute("aria-label")
    assert "large 70.0" in said
    assert "lm-4000" in said
    assert "lm-1000" not in said  # of a series, the last checkpoint
    shown.select_option("#across-0", label="updates of lm")
    said = shown.locator("#shots-0 .figure svg").get_attribute("aria-label")
    assert "lm-1000 15.0, lm-2000 25.0, lm-4000 45.0" in said
    assert "large" not in said
    assert shown.locator("#shots-0 .figure svg text", has_text="Updates").count() == 1


def test_sizes_of_one_family_are_joined_and_other_families_are_not(board: dict[str, Any], show: Any) -> None:
    board["sections"] = [section("few-shot", "Few-shot, nothing trained")]
    for row in board["sections"][0]["rows"]:
        row["family"] = "apc" if row["name"] in ("apc", "large") else "lm" if row["series"] else row["name"]
    page = show(board)
    page.locator("#shots-0 .figure").scroll_into_view_if_needed()
    chart = page.locator("#shots-0 .figure svg")
    chart.wait_for()
    lines = [line.get_attribute("points").split() for line in chart.locator("polyline").all()]
    assert [len(line) for line in lines] == [
        2
    ] * 4  # apc and large at K = 0, 1, 5, all; of the series, the last checkpoint alone
    assert chart.locator(".family-label").count() == 0  # one family has a line


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light")])
def test_nothing_overflows_and_every_control_has_a_name(shown: Any, width: int, scheme: str) -> None:
    shown.set_viewport_size({"width": width, "height": 900})
    shown.emulate_media(color_scheme=scheme)
    for number in (0, 1):
        shown.locator(f"#shots-{number} .figure").scroll_into_view_if_needed()
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate("[...document.querySelectorAll('#shots select')].every((node) => node.ariaLabel)")
    regions = "[...document.querySelectorAll('#shots .box, #shots .plain')]"
    assert shown.evaluate(f"{regions}.every((node) => node.ariaLabel && node.tabIndex === 0)")
    ids = shown.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    assert shown.evaluate("window.hacked") is None


def test_filters_narrow_the_sections_too(shown: Any) -> None:
    shown.fill("#query", "lm-")
    assert names(shown)[:3] == ["lm-4000", "lm-2000", "lm-1000"]
    shown.select_option("#filter-protocol", label="In context")
    assert shown.locator("#shots-0").is_hidden()
    assert shown.locator("#shots-1").is_visible()


def test_the_rank_correlation_with_the_probes_is_shown_with_its_interval(shown: Any) -> None:
    text = shown.locator("#shots-0 .card", has_text="Does it order models").inner_text()
    assert "Miniature corpora" in text
    assert "0.60 – 1.00 · 8 rows" in text
    assert "no interval" in text
