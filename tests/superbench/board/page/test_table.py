"""The tables of the page: ranked, sorted, filtered, downloaded, by mouse and by keys; hostile names are text."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest

from superbench.board.page.render import SCRIPTS, WEB, inert, render
from superbench.errors import BadResult


def names(page: Any, table: int = 0) -> list[str]:
    return page.locator(".group").nth(table).locator("tbody .name a").all_text_contents()


def wait_for_rows(until: Any, count: int, table: int = 0) -> None:
    """Waits for the rows that the page draws when the browser is idle."""
    until(f"document.querySelectorAll('#table-{table} tbody tr').length === {count}")


def head(page: Any, key: str) -> Any:
    return page.locator(f".group >> nth=0 >> th[data-key='{key}']")


def saved(page: Any, kind: str) -> tuple[str, str]:
    with page.expect_download() as waiting:
        page.locator(".group").first.get_by_role("button", name=f"as {kind}").click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes().decode()


# ---------------------------------------------------------------- without a browser


def test_data_cannot_end_its_script_and_survives_the_trip(board: dict[str, Any], hostile: str) -> None:
    text = inert({"name": hostile + "\u2029&"})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {"name": hostile + "\u2029&"}
    html = render(board)
    assert html.count("</script>") == 3  # the tables, what stands behind them, the script: the model named so adds none
    assert "<title>Miniature &lt;board&gt;</title>" in html
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:|//)", html)


def test_a_number_that_is_not_finite_is_refused(board: dict[str, Any]) -> None:
    board["groups"][0]["rows"][0]["superb"] = math.nan
    with pytest.raises(BadResult, match="not finite"):
        render(board)


def test_scripts_and_style_stay_readable_and_none_is_forgotten() -> None:
    assert {path.stem for path in WEB.glob("*.js")} == set(SCRIPTS)
    lines = {path.name: path.read_text().splitlines() for path in WEB.iterdir()}
    assert {name: len(text) for name, text in lines.items() if len(text) > 300} == {}
    assert not [name for name, text in lines.items() if name.endswith(".js") and not text[0].startswith("// ")]


def test_a_page_of_few_rows_is_small(board: dict[str, Any]) -> None:
    assert len(render(board).encode()) < 400_000


# ---------------------------------------------------------------- in the browser


def test_it_opens_ranked_with_hostile_names_as_text(page: Any, hostile: str, until: Any) -> None:
    assert names(page)[:2] == ["tera", "apc"]
    assert names(page)[-1] == hostile
    wait_for_rows(until, 61, 1)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img").count() == 0
    last = page.locator(".group").first.locator("tbody tr").last
    assert last.locator(".name .dagger").get_attribute("title").endswith("--max-steps 10")


def test_a_sentence_says_who_leads_and_how_sure_that_is(page: Any, board: dict[str, Any], show: Any) -> None:
    text = page.locator(".group").first.locator(".headline").inner_text()
    assert text.startswith("tera ranks first, surely best in 7 of 11 columns")
    assert "In 4 nobody is surely best" in text
    assert "No intervals were published" in page.locator(".group").nth(1).locator(".headline").inner_text()
    for row in board["groups"][0]["rows"]:
        for key, cell in row["cells"].items():
            cell["tied"] = row["name"] == "apc" and key != "ks.accuracy"
            cell["sure"] = key != "ks.accuracy"  # could not be compared
    assert (
        "surely best in no single column. In all nobody is surely best" in show(board).locator(".headline").first.inner_text()
    )


def test_a_click_or_a_key_on_a_head_sorts_best_first_and_then_the_other_way(page: Any, board: dict[str, Any]) -> None:
    values = {row["name"]: row["cells"]["pr.per"]["value"] for row in board["groups"][0]["rows"]}
    head(page, "pr.per").get_by_role("button").click()
    assert names(page) == sorted(values, key=values.__getitem__)
    assert head(page, "pr.per").get_attribute("aria-sort") == "ascending"
    for key, order in (("Enter", "descending"), ("Space", "ascending")):
        head(page, "pr.per").get_by_role("button").press(key)
        assert names(page) == sorted(values, key=values.__getitem__, reverse=order == "descending")
        assert head(page, "pr.per").get_attribute("aria-sort") == order
    assert page.locator(".group").first.locator("[aria-sort]").count() == 1
    head(page, "superb").get_by_role("button").click()
    assert names(page)[0] == "tera"
    assert names(page)[-1] == page.evaluate("groups[0].rows.at(-1).name")  # no score: last, whichever way
    head(page, "superb").get_by_role("button").click()
    assert names(page)[0] == "fbank"
    assert names(page)[-1] == page.evaluate("groups[0].rows.at(-1).name")


def test_search_family_size_protocol_and_corpus_narrow_the_tables(page: Any, until: Any) -> None:
    page.get_by_role("searchbox").fill("APC")
    assert names(page) == ["apc", "apc:untrained"]
    assert page.locator("#table-1").inner_text().count("No row passes") == 1
    page.get_by_role("searchbox").fill("")
    page.get_by_role("combobox", name="Family").select_option("apc")
    page.get_by_role("combobox", name="Size").select_option(label="up to 10 M")
    assert names(page) == ["apc", "apc:untrained"]
    page.get_by_role("button", name="Show everything").click()
    page.get_by_role("combobox", name="Protocol").select_option(label="Published")
    assert page.locator("#table-0").is_hidden()
    page.get_by_role("combobox", name="Pretrained on").select_option("LL 60k hr")
    wait_for_rows(until, 21, 1)
    assert "21 of 61 rows" in page.locator("#table-1 .count").inner_text()
    assert page.locator("#said").inner_text() == "21 rows shown"  # what a screen reader hears


def test_the_chooser_hides_columns_and_escape_closes_it(page: Any) -> None:
    page.locator("#choose").press("Enter")
    panel = page.locator("#columns")
    for width in (1440, 1280, 900, 360):
        page.set_viewport_size({"width": width, "height": 800})
        box = panel.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= width)
    page.set_viewport_size({"width": 1440, "height": 900})
    panel.get_by_label("ASV EER").uncheck()
    panel.locator("fieldset", has_text="Emotion").get_by_role("checkbox").uncheck()
    panel.get_by_label("SUPERB").uncheck()
    panel.locator("fieldset", has_text="Phoneme").get_by_role("button").click()
    keys = page.locator(".group").first.locator("th[data-key]").evaluate_all("cells => cells.map((cell) => cell.dataset.key)")
    assert keys == ["name", "rank", "params", "sid.accuracy", "sd.der", "ic.accuracy", "sf.slot_type_f1", "sf.slot_value_cer"]
    page.keyboard.press("Escape")
    assert panel.is_hidden()
    assert page.evaluate("document.activeElement.id") == "choose"
    assert page.locator("#choose").inner_text() == "Columns: 5 of 11"


def test_keys_alone_lead_through_the_page(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the tables"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("/")
    page.keyboard.type("tera")
    assert names(page) == ["tera"]
    page.keyboard.press("Escape")
    assert len(names(page)) == 7
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('th')?.dataset.key") == "ks.accuracy":
            break
    page.keyboard.press("Space")
    assert head(page, "ks.accuracy").get_attribute("aria-sort") == "descending"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # who uses keys sees where they are


def test_csv_holds_what_is_shown_in_full(page: Any, board: dict[str, Any], hostile: str) -> None:
    page.evaluate("location.hash = 'hide=er.accuracy'")
    head(page, "er.accuracy").wait_for(state="detached")
    name, text = saved(page, "CSV")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert name == "superbench-mini-0.csv"
    assert [row["name"] for row in rows] == names(page)
    want = board["groups"][0]["rows"][4]
    got = next(row for row in rows if row["name"] == "apc")
    assert (got["rank"], float(got["superb"]), int(got["params"])) == (str(want["rank"]), want["superb"], want["params"])
    assert "er.accuracy" not in got
    for key in [column["key"] for column in board["columns"] if column["task"] != "er"]:
        cell = want["cells"][key]
        assert [float(got[key]), float(got[f"{key}.lo"]), float(got[f"{key}.hi"])] == [cell["value"], cell["lo"], cell["hi"]]
        assert got[f"{key}.tied"] == str(cell["tied"]).lower()
    assert next(row for row in rows if row["name"] == hostile)["deviations"] == "'--max-steps 10"  # not a formula


def test_json_holds_the_same(page: Any, board: dict[str, Any]) -> None:
    page.get_by_role("searchbox").fill("apc")
    name, text = saved(page, "JSON")
    found = json.loads(text)
    assert name == "superbench-mini-0.json"
    assert [row["name"] for row in found["rows"]] == ["apc", "apc:untrained"]
    assert found["rows"][0]["scores"]["pr.per"] == board["groups"][0]["rows"][4]["cells"]["pr.per"]
    assert [column["key"] for column in found["columns"]] == [column["key"] for column in board["columns"]]


def test_latex_has_rules_and_the_best_in_bold(page: Any) -> None:
    page.get_by_role("searchbox").fill("t")
    name, text = saved(page, "LaTeX")
    assert name == "superbench-mini-0.tex"
    assert [text.count(rule) for rule in ("\\toprule", "\\midrule", "\\bottomrule")] == [1, 1, 1]
    tera = next(line for line in text.splitlines() if line.startswith("tera"))
    assert tera.count("\\textbf") == 11
    assert len({line.count(" & ") for line in text.splitlines() if line.endswith("\\\\")}) == 1
    assert "\\textless{}/script" in text


def test_a_phone_never_scrolls_the_page_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for hash in ("#compare=tera&compare=fbank", "#model=tera", "#task=ks"):
        page.evaluate(f"location.hash = '{hash}'")
        page.wait_for_timeout(100)
        for figure in page.locator(".figure:visible").all():
            figure.scroll_into_view_if_needed()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.keyboard.press("Escape")
    box = page.locator(".box").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.evaluate("box => box.scrollTo(400, 60)")
    left = "element => element.getBoundingClientRect().left"
    assert box.locator("tbody .name").first.evaluate(left) - box.evaluate(left) < 3
    page.get_by_role("button", name="Filters").click()
    assert page.get_by_role("combobox", name="Family").is_visible()


@pytest.mark.parametrize("width", [1280, 1366, 1440])
def test_on_a_laptop_all_columns_are_seen(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_timeout(100)
    over = page.evaluate("[...document.querySelectorAll('.box')].map((box) => box.scrollWidth - box.clientWidth)")
    assert max(over) <= 0, over
    last = page.locator(".box").first.locator("thead th").last.bounding_box()
    assert last is not None
    assert last["x"] + last["width"] <= width
    assert page.locator(".more-columns:visible").count() == 0


def test_a_table_that_is_cut_says_so_and_is_scrolled_by_keys(page: Any, until: Any) -> None:
    page.set_viewport_size({"width": 900, "height": 800})
    frame = page.locator(".frame").first
    frame.locator(".more-columns").wait_for(state="visible")
    box = frame.locator(".box")
    assert box.get_attribute("tabindex") == "0"
    box.focus()
    before = box.evaluate("box => box.scrollLeft")
    page.keyboard.press("ArrowRight")
    until("document.querySelector('.box').scrollLeft > 0")
    assert before == 0
    box.evaluate("box => box.scrollTo(box.scrollWidth, 0)")
    frame.locator(".more-columns").wait_for(state="hidden")  # the end is reached


def test_the_page_of_a_model_says_who_submitted_it_when_and_how(board: dict[str, Any], show: Any) -> None:
    row = board["groups"][0]["rows"][0]
    told = {"tasks": ["ks", "sid"], "by": "alice", "owner": "bob", "at": "20261129T054300.123456Z", "version": "0.1.0",
            "command": "superbench run fbank --tasks ks"}  # fmt: skip
    changed = row | {"submissions": [told], "hidden": True}
    first = board["groups"][0] | {"rows": [changed, *board["groups"][0]["rows"][1:]]}
    missing = [{"task": "tones", "plugin": "superbench-tones 0.1", "rows": ["fbank", "apc"]}]
    page = show(board | {"groups": [first, *board["groups"][1:]], "missing": missing})
    assert "unpublished" in page.locator(".box").first.locator("th.name", has_text="fbank").inner_text()
    note = page.get_by_role("note").inner_text()
    assert "tones is not installed" in note
    assert "superbench-tones 0.1" in note
    assert "fbank and apc are shown without its column" in note
    page.locator(".box").first.get_by_role("link", name="fbank").click()
    table = page.get_by_role("region", name="Submissions of fbank").inner_text()
    for text in ("KS, SID", "alice", "now belongs to bob", "2026-11-29 05:43", "0.1.0", "superbench run fbank --tasks ks"):
        assert text in table
    assert "only members of this board see this row" in page.locator("#view").inner_text()


@pytest.mark.parametrize("hash", ["#compare=tera&compare=fbank", "#model=tera", "#task=ks", "#task=sf", "#columns"])
def test_on_a_phone_whatever_scrolls_can_be_reached_and_scrolled_by_keys(page: Any, hash: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    if hash == "#columns":
        page.get_by_role("button", name="Filters").click()
        page.locator("#choose").click()
    else:
        page.evaluate(f"location.hash = '{hash}'")
    page.wait_for_timeout(200)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.wait_for_timeout(100)
    found = page.evaluate("""() => [...document.querySelectorAll("body *")].filter((one) => {
        const { overflowX, overflowY } = getComputedStyle(one);
        const wide = /auto|scroll/.test(overflowX) && one.scrollWidth > one.clientWidth;
        const high = /auto|scroll/.test(overflowY) && one.scrollHeight > one.clientHeight;
        return (wide || high) && one.checkVisibility();
    }).map((one) => [one.id || one.className, one.tabIndex, one.getAttribute("role") ?? one.localName, one.ariaLabel])""")
    assert found
    assert [one for one in found if one[1] != 0 or one[2] not in ("region", "nav", "group") or not one[3]] == []
    labels = [one.get_attribute("aria-label") for one in page.locator("[role=region]:visible").all()]
    assert len(labels) == len(set(labels))


def test_the_theme_follows_the_system_until_it_is_switched(page: Any) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert light != dark
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(ground) == light
    end = time.monotonic() + 30
    page.reload()
    while page.evaluate(ground) != light and time.monotonic() < end:  # a loaded browser stores it a moment after the click
        page.wait_for_timeout(100)
        page.reload()
    assert page.evaluate(ground) == light  # it is remembered


def test_who_asks_for_less_motion_gets_none(page: Any) -> None:
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    assert page.evaluate(behaviour) == "smooth"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(behaviour) == "auto"


def test_a_board_without_rows_says_what_to_do(board: dict[str, Any], show: Any) -> None:
    assert "superbench submit" in show(board | {"groups": []}).locator("#tables").inner_text()


def test_what_the_board_holds_and_does_not_show_is_told(board: dict[str, Any], show: Any) -> None:
    assert "apc: ks: no" in show(board | {"refused": ["apc: ks: no"]}).locator(".refused").text_content()


def test_rows_need_no_score_no_interval_and_no_ties(board: dict[str, Any], show: Any) -> None:
    for group in board["groups"]:
        for row in group["rows"]:
            for absent in ("superb", "family", "corpus", "rtf", "macs", "details"):
                row.pop(absent)
            row["cells"] = {key: {"value": cell["value"]} for key, cell in list(row["cells"].items())[:3]}
        group.pop("behind", None)
    page = show(board)
    assert names(page)[0] == "tera"
    assert page.locator("th[data-key='superb']").count() == 0
    page.get_by_role("link", name="tera").first.click()
    assert "there are no receipts to show" in page.locator("#view").inner_text()
