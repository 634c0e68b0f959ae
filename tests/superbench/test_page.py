"""The board's page in a browser: it opens from disk, sorts, filters, compares, downloads, and fits a phone."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from superbench.board.page import inert, render
from superbench.errors import BadResult

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\u2028"
COLUMNS = [  # key, title, unit, higher, domain
    ("pr.per", "Phoneme recognition", "%", False, "content"),
    ("asr.wer", "Speech recognition", "%", False, "content"),
    ("ks.accuracy", "Keyword spotting", "%", True, "content"),
    ("qbe.mtwv", "Query by example", "fraction", True, "content"),
    ("sid.accuracy", "Speaker identification", "%", True, "speaker"),
    ("asv.eer", "Speaker verification", "%", False, "speaker"),
    ("sd.der", "Speaker diarization", "%", False, "speaker"),
    ("ic.accuracy", "Intent classification", "%", True, "semantics"),
    ("sf.slot_type_f1", "Slot filling", "%", True, "semantics"),
    ("sf.slot_value_cer", "Slot filling", "%", False, "semantics"),
    ("er.accuracy", "Emotion recognition", "%", True, "emotion"),
]
LOCAL = [  # name, kind, params, skill
    ("fbank", "spectral", 0, 0.2),
    ("mfcc", "spectral", None, 0.25),
    ("apc:untrained", "untrained", 1_150_000, 0.35),
    ("mockingjay", "pretrained", 5_400_000, 0.6),
    ("apc", "pretrained", 1_150_000, 0.75),
    ("tera", "pretrained", 5_400_000, 0.9),
    (HOSTILE, "pretrained", 9_900_000, 0.5),
]


def column(key: str, title: str, unit: str, higher: bool, domain: str) -> dict[str, Any]:
    task, metric = key.split(".")
    label = f"{task.upper()} {metric.replace('_', ' ')} {'↑' if higher else '↓'}"
    return {"key": key, "task": task, "metric": metric, "title": title, "label": label, "unit": unit, "higher": higher,
            "primary": metric != "slot_value_cer", "domain": domain}  # fmt: skip


def cells(skill: float, spread: float | None, shortened: bool) -> dict[str, Any]:
    found = {}
    for number, (key, _, unit, higher, _) in enumerate(COLUMNS):
        scale = 100.0 if unit == "%" else 1.0
        value = scale * min(0.98, max(0.02, (skill if higher else 1 - skill) + 0.07 * math.sin(7 * skill + number)))
        lo, hi = (None, None) if spread is None else (value - spread * scale, value + spread * scale)
        found[key] = {"value": value, "lo": lo, "hi": hi, "best": skill == 0.9, "tied": skill == 0.75 and number % 3 == 0,
                      "deviations": ["--max-steps 10"] if shortened else [],
                      "method": spread and "bootstrap over 48 groups"}  # fmt: skip
    return found


def details(number: int) -> dict[str, Any]:
    rates = [1e-4, 1e-3, 1e-2, 1e-1]
    devs = [60.0 + number, 82.5, 88.1, None]
    sweep = [{"fold": "all", "lr": lr, "seed": 0, "dev": dev, "steps": 1000, "setting": {},
              "status": None if dev else "diverged", "chosen": lr == 1e-2}
             for lr, dev in zip(rates, devs, strict=True)]  # fmt: skip
    settings = [{"fold": "all", "lr": None, "seed": 0, "dev": 0.1 * layer, "steps": 0,
                 "setting": {"layer": layer, "distance": "cosine"}, "status": None, "chosen": layer == 3}
                for layer in range(4)]  # fmt: skip
    common = {
        "seconds": {"extract": 1.2, "train": 3.4, "evaluate": 0.2},
        "data": "9c1f0a",
        "items": {"train": 900, "test": 300},
    }
    weights = [math.exp(-abs(layer - 1 - number % 3)) for layer in range(4)]
    mix = {"all": [weight / sum(weights) for weight in weights]}
    cards = {
        task: {"sweep": sweep, "layer_weights": mix, "notes": ["dev and test share no speaker"], **common}
        for task in ("pr", "asr", "ks", "sid", "er")
    }
    return {**cards, "qbe": {"sweep": settings, "layer_weights": {}, "notes": [], **common}}


def local_row(number: int, name: str, kind: str, params: int | None, skill: float) -> dict[str, Any]:
    shortened = name == HOSTILE
    return {"name": name, "origin": "local", "source": "", "kind": kind, "params": params, "macs": None, "hop": 160,
            "layers": 4, "dim": 256, "revision": "ab12", "superb": None if shortened else 1000 * skill - 100,
            "rank": None if shortened else 6 - number, "tasks": 10, "cells": cells(skill, 0.06, shortened),
            "details": details(number)}  # fmt: skip


def published_row(number: int) -> dict[str, Any]:
    skill = 0.15 + 0.012 * number
    row = local_row(number, f"Published {number}", "published", (number % 17) * 5_000_000 or None, skill)
    return row | {"origin": "published", "source": "superb2021", "cells": cells(skill, None, False), "details": {}, "hop": None,
                  "layers": None, "dim": None, "revision": "", "rank": 61 - number}  # fmt: skip


def board() -> dict[str, Any]:
    local = [local_row(number, *row) for number, row in enumerate(LOCAL)]
    return {
        "title": "Miniature <board>", "made": "2026-01-31", "version": "0.1.0", "columns": [column(*row) for row in COLUMNS],
        "groups": [
            {"key": "mini/1", "title": "Miniature corpora, protocol mini", "note": "Rows of this table may be compared.",
             "official": False, "rows": local},
            {"key": "published", "title": "Published", "note": "Not comparable with the rows above.", "official": True,
             "rows": [published_row(number) for number in range(61)]},
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "board.html"
    path.write_text(render(board()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "the page needs playwright and chromium, and one of them is missing"
        )
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, headless=True, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, open on a desktop; at the end nothing may have been written to the console or asked of a network."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    faults: list[str] = []
    opened.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else faults.append(request.url)
    )
    opened.goto(address)
    yield opened
    context.close()
    assert faults == []


def names(page: Any, table: int = 0) -> list[str]:
    return page.locator(".group").nth(table).locator("tbody .name strong").all_text_contents()


def saved(page: Any, button: str) -> tuple[str, str]:
    with page.expect_download() as waiting:
        page.locator(".group").first.get_by_role("button", name=button).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes().decode()


# ---------------------------------------------------------------- without a browser


def test_data_cannot_end_its_script_and_survives_the_trip() -> None:
    text = inert({"name": HOSTILE + "\u2029&"})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {"name": HOSTILE + "\u2029&"}
    html = render(board())
    assert html.count("</script>") == 3  # the numbers, the script, plotly: the model named so adds none
    assert "<title>Miniature &lt;board&gt;</title>" in html
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:|//)", html)


def test_a_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(BadResult, match="not finite"):
        render(board() | {"groups": [{"rows": [{"superb": math.nan}]}]})


def test_script_and_style_stay_readable() -> None:
    folder = Path(render.__code__.co_filename).parent
    assert len((folder / "page.js").read_text().splitlines()) <= 450
    assert len((folder / "page.css").read_text().splitlines()) <= 250


# ---------------------------------------------------------------- in the browser


def test_it_opens_ranked_with_hostile_names_as_text(page: Any) -> None:
    assert names(page)[:2] == ["tera", "apc"]
    assert names(page)[-1] == HOSTILE
    assert len(names(page, 1)) == 61
    assert page.evaluate("window.hacked") is None
    assert page.locator("#tables img").count() == 0
    assert (
        page.locator(".group")
        .first.locator("tbody tr")
        .last.locator(".name .dagger")
        .get_attribute("title")
        .endswith("--max-steps 10")
    )
    assert page.evaluate("typeof window.Plotly") == "undefined"  # not before a chart is looked at


def test_a_click_or_a_key_on_a_head_sorts_best_first_and_then_the_other_way(page: Any) -> None:
    head = page.locator(".group").first.locator("th[data-key='pr.per']")
    values = {row["name"]: row["cells"]["pr.per"]["value"] for row in board()["groups"][0]["rows"]}
    head.get_by_role("button").click()
    assert names(page) == sorted(values, key=values.__getitem__)
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").press("Enter")
    assert names(page) == sorted(values, key=values.__getitem__, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    page.locator(".group").first.locator("th[data-key='superb'] button").click()
    assert names(page)[0] == "tera"
    assert names(page)[-1] == HOSTILE  # no score: last, whichever way
    page.locator(".group").first.locator("th[data-key='superb'] button").click()
    assert names(page)[-1] == HOSTILE


def test_search_and_families_narrow_the_table(page: Any) -> None:
    page.get_by_role("searchbox").fill("APC")
    assert names(page) == ["apc", "apc:untrained"]
    assert names(page, 1) == []
    page.get_by_role("button", name="speaker").click()
    keys = page.locator(".group").first.locator("th[data-key]").evaluate_all("cells => cells.map((cell) => cell.dataset.key)")
    assert keys == ["name", "rank", "superb", "params", *(key for key, *_, domain in COLUMNS if domain != "speaker")]


def test_two_rows_of_one_table_are_compared(page: Any) -> None:
    tick = lambda name, table=0: page.locator(".group").nth(table).get_by_label(f"Compare {name}", exact=True).check()  # noqa: E731
    tick("Published 3", 1)
    tick("fbank")  # of another table: takes the place of the one before
    tick("tera")
    assert page.locator(".group input:checked").count() == 2
    rows = page.locator("#comparison tbody tr")
    assert rows.count() == len(COLUMNS)
    local = {row["name"]: row["cells"]["pr.per"]["value"] for row in board()["groups"][0]["rows"]}
    text = rows.first.inner_text()
    assert f"{local['tera'] - local['fbank']:.1f}".replace("-", "−") in text
    assert "clear" in text
    assert rows.first.locator("td.two").count() == 1  # the second is better: fewer errors
    tick("apc")
    assert "overlap" in page.locator("#comparison").inner_text()
    page.locator("#radar").scroll_into_view_if_needed()
    page.wait_for_selector("#radar .legendtext")
    assert page.locator("#radar .legendtext").all_text_contents() == ["tera", "apc"]
    page.locator("#tray-clear").click()
    assert page.locator("#radar").is_hidden()


def test_charts_are_drawn_when_they_come_into_view(page: Any) -> None:
    page.locator("#cost").scroll_into_view_if_needed()
    page.wait_for_selector("#cost .scatterlayer .trace")
    labels = " ".join(page.locator("#cost .textpoint, #cost .annotation-text").all_text_contents())
    assert {"apc", "tera", "fbank"} <= set(labels.split())
    assert HOSTILE[:9] not in labels  # it has no score
    page.locator("#cost-score").select_option("asv.eer")
    page.wait_for_function("document.querySelector('#cost').textContent.includes('ASV eer')")
    page.locator("#layers").scroll_into_view_if_needed()
    page.wait_for_selector("#layers .heatmaplayer")
    assert HOSTILE[:9] in page.locator("#layers .yaxislayer-above").text_content()
    page.get_by_role("button", name=re.compile("^(Dark|Light)$")).click()
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_details_show_the_receipts(page: Any) -> None:
    page.get_by_role("button", name="Details of tera", exact=True).click()
    panel = page.locator(".details")
    assert "learning rate 1e-2, dev 88.1" in panel.inner_text()
    assert "layer 3, distance cosine" in panel.inner_text()
    assert panel.locator("circle.chosen").count() == 6
    assert panel.locator(".lost").count() == 5  # the learning rate that diverged
    page.get_by_role("button", name="Details of tera", exact=True).click()
    assert panel.count() == 0


def test_csv_holds_the_visible_table_in_full(page: Any) -> None:
    page.get_by_role("button", name="emotion").click()
    name, text = saved(page, "CSV")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert name == "superbench-mini-1.csv"
    assert [row["name"] for row in rows] == names(page)
    want = board()["groups"][0]["rows"][4]
    got = next(row for row in rows if row["name"] == "apc")
    assert (got["rank"], float(got["superb"]), int(got["params"])) == (str(want["rank"]), want["superb"], want["params"])
    for key, *_, domain in COLUMNS:
        if domain == "emotion":
            assert key not in got
        else:
            cell = want["cells"][key]
            assert [float(got[key]), float(got[f"{key}.lo"]), float(got[f"{key}.hi"])] == [
                cell["value"],
                cell["lo"],
                cell["hi"],
            ]
    assert next(row for row in rows if row["name"] == HOSTILE)["deviations"] == "'--max-steps 10"  # not a formula


def test_latex_has_rules_and_the_best_in_bold(page: Any) -> None:
    page.get_by_role("searchbox").fill("t")
    name, text = saved(page, "LaTeX")
    assert name == "superbench-mini-1.tex"
    assert [text.count(rule) for rule in ("\\toprule", "\\midrule", "\\bottomrule")] == [1, 1, 1]
    tera = next(line for line in text.splitlines() if line.startswith("tera"))
    assert tera.count("\\textbf") == len(COLUMNS)
    assert len({line.count(" & ") for line in text.splitlines() if line.endswith("\\\\")}) == 1
    assert "\\textless{}/script" in text


def test_a_phone_never_scrolls_the_page_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for row in ("tera", "fbank"):
        page.locator(".group").first.get_by_label(f"Compare {row}", exact=True).check()
    page.get_by_role("button", name="Details of tera", exact=True).click()
    for chart in ("radar", "cost", "layers"):
        page.locator(f"#{chart}").scroll_into_view_if_needed()
        page.wait_for_selector(f"#{chart} .main-svg")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    box = page.locator(".box").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.evaluate("box => box.scrollTo(400, 60)")
    left = "element => element.getBoundingClientRect().left"
    assert box.locator("tbody .name").first.evaluate(left) - box.evaluate(left) < 3


def test_a_board_without_rows_says_what_to_do(page: Any, tmp_path: Path) -> None:
    path = tmp_path / "empty.html"
    path.write_text(render(board() | {"groups": []}), encoding="utf-8")
    page.goto(path.as_uri())
    assert "superbench submit" in page.locator("#tables").inner_text()
