"""Links that restore the view of their sender; the views of a model and a task; the two charts."""

from __future__ import annotations

from typing import Any

import pytest


def names(page: Any, table: int = 0) -> list[str]:
    return page.locator(".group").nth(table).locator("tbody .name a").all_text_contents()


def hash_of(page: Any) -> str:
    return page.evaluate("decodeURIComponent(location.hash)")


# ---------------------------------------------------------------- links


def test_a_link_shows_what_its_sender_saw(page: Any, browser: Any) -> None:
    page.get_by_role("searchbox").fill("a")
    page.get_by_role("combobox", name="Family").select_option("apc")
    page.locator("#choose").click()
    page.locator("#columns").get_by_label("ASV EER").uncheck()
    page.keyboard.press("Escape")
    page.locator(".group").first.locator("th[data-key='ks.accuracy'] button").click()
    page.locator(".group").first.locator("th[data-key='ks.accuracy'] button").click()
    for name in ("apc:untrained", "apc"):
        page.locator(".group").first.get_by_label(f"Compare {name}", exact=True).check()
    assert hash_of(page) == "#q=a&family=apc&hide=asv.eer&sort=mini-0:ks.accuracy&compare=apc:untrained&compare=apc"
    receiver = browser.new_page()
    receiver.goto(page.url)
    assert names(receiver) == names(page) == ["apc:untrained", "apc"]
    assert receiver.locator("#comparison tbody tr").count() == 10
    assert receiver.get_by_role("searchbox").input_value() == "a"
    assert receiver.locator("#filter-family").input_value() == "apc"
    assert receiver.locator("th[data-key='asv.eer']").count() == 0
    assert receiver.locator("th[data-key='ks.accuracy']").first.get_attribute("aria-sort") == "ascending"
    receiver.close()


def test_a_model_and_a_task_have_addresses_and_back_goes_back(page: Any) -> None:
    page.get_by_role("searchbox").fill("er")
    page.get_by_role("link", name="tera", exact=True).first.click()
    assert hash_of(page) == "#model=tera&q=er"
    assert page.title() == "tera · Miniature <board>"
    assert page.evaluate("document.activeElement.textContent").startswith("tera")  # the heading, for those who listen
    page.locator("#view").get_by_role("link", name="KS accuracy").first.click()
    assert hash_of(page) == "#task=ks&q=er"
    page.go_back()
    assert page.locator("#view h2").inner_text().startswith("tera")
    page.go_back()
    assert page.locator("#board-view").is_visible()
    assert page.get_by_role("searchbox").input_value() == "er"


def test_escape_returns_to_the_place_and_the_link_one_left(page: Any, until: Any) -> None:
    until("document.querySelectorAll('#table-1 tbody tr').length === 61")
    there = page.locator("#table-1").get_by_role("link", name="Published 58", exact=True)
    there.scroll_into_view_if_needed()
    top = page.evaluate("scrollY")
    there.focus()
    page.keyboard.press("Enter")
    assert page.locator("#view h2").inner_text().startswith("Published 58")
    page.keyboard.press("Escape")
    assert page.evaluate("scrollY") == top
    assert page.evaluate("document.activeElement.textContent") == "Published 58"


@pytest.mark.parametrize("hash", ["#model=nobody", "#task=none", "#model=%3Cimg%20src=x%20onerror=alert(1)%3E"])
def test_an_address_of_nobody_says_so(page: Any, hash: str) -> None:
    page.evaluate(f"location.hash = {hash!r}")
    page.wait_for_selector("#view h2")
    assert page.locator("#view").inner_text().count("Not on this board") == 1
    assert page.locator("#view img").count() == 0
    page.get_by_role("link", name="Back to the board").click()
    assert page.locator("#board-view").is_visible()


@pytest.mark.parametrize(
    "hash", ["#sort=mini-0:nothing", "#sort=x", "#hide=,,a", "#compare=nobody", "#size=9", "#q=%E0%A4%A", "#&=&"]
)
def test_an_address_that_says_nonsense_does_no_harm(page: Any, hash: str, until: Any) -> None:
    page.evaluate(f"location.hash = {hash!r}")
    until("handled === location.hash")
    assert page.locator("#board-view").is_visible()


def test_rows_of_one_name_have_addresses_of_their_own(board: dict[str, Any], show: Any, until: Any) -> None:
    board["groups"][1]["rows"][0]["name"] = "apc"
    page = show(board)
    page.locator("#table-1").get_by_role("link", name="apc", exact=True).click()
    assert hash_of(page) == "#model=apc+@published-1"
    assert "Published numbers" in page.locator("#view").inner_text()
    page.evaluate("location.hash = 'model=apc'")
    until("document.querySelector('#view').textContent.includes('Receipts')")


def test_copy_link_copies_the_address(page: Any, browser: Any, until: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("searchbox").fill("apc")
    page.get_by_role("button", name="Copy link").click()
    until("document.querySelector('#copy').textContent !== 'Copy link'")
    assert page.locator("#copy").inner_text() in ("Copied", "See the address bar")


# ---------------------------------------------------------------- a model


def test_a_model_shows_places_receipts_layers_and_the_items_it_misses(page: Any, until: Any) -> None:
    page.evaluate("location.hash = 'model=apc'")
    page.wait_for_selector("#view h2")
    view = page.locator("#view")
    assert "Best in 0 of 11 columns, tied with the best in 4." in view.inner_text()
    keywords = view.locator(".scores tr", has_text="KS accuracy")
    assert "2nd of 6" in keywords.inner_text()
    assert "lr 1e−2" in keywords.inner_text()
    receipt = view.locator(".task", has_text="Keyword spotting")
    assert "Chosen: lr 1e−2, dev 88.1" in receipt.inner_text()
    assert receipt.locator("svg .chosen").count() == 1
    assert receipt.locator("svg .lost").count() == 1  # the learning rate that diverged
    receipt.locator("summary", has_text="All 4 points").press("Enter")
    rows = receipt.locator("tbody tr").all_inner_texts()
    assert [row.split("\t")[:3] for row in rows] == [
        ["1e−4", "1000", "64"],
        ["1e−3", "1000", "82.5"],
        ["1e−2", "1000", "88.1"],
        ["1e−1", "1000", "diverged"],
    ]
    assert [("chosen" in row) for row in rows] == [False, False, True, False]
    assert "layer 3, distance cosine" in view.locator(".task", has_text="Query by example").inner_text()
    heat = view.locator("svg[aria-label='Layer weights of apc']")
    heat.scroll_into_view_if_needed()
    assert heat.locator("rect.heat").count() == 5 * 4
    items = view.locator(".hard tbody tr")
    assert ["wrong" in text for text in items.all_inner_texts()] == [True, True]
    page.evaluate("location.hash = 'model=mockingjay'")
    until("document.title.startsWith('mockingjay')")
    assert "right" in items.nth(1).inner_text()


def test_hostile_texts_are_text_in_every_view(page: Any, hostile: str) -> None:
    page.evaluate("(name) => { location.hash = new URLSearchParams({ model: name }); }", hostile)
    page.wait_for_selector("#view h2")
    assert page.locator("#view h2").inner_text().startswith(hostile[:20])
    assert "without a rank, because it deviates from its recipe" in page.locator("#view").inner_text()
    assert hostile.strip()[:40] in page.locator("#view .said").nth(1).text_content()
    page.evaluate("(name) => { location.hash = new URLSearchParams([['compare', name], ['compare', 'apc']]); }", hostile)
    page.wait_for_selector("#comparison table")
    page.evaluate("location.hash = 'task=ks'")
    page.wait_for_selector("#view .ladder")
    assert page.locator("main img, main script").count() == 0
    assert page.evaluate("window.hacked") is None


# ---------------------------------------------------------------- a task


def test_a_task_ranks_all_rows_with_intervals_rates_layers_and_hard_items(page: Any, board: dict[str, Any], until: Any) -> None:
    page.get_by_role("navigation", name="Tasks").get_by_role("link", name="KS", exact=True).click()
    assert "Corpus of ks" in page.locator("#view .view-head").inner_text()
    ladders = page.locator("#view .ladder")
    first = ladders.first.locator("tbody tr").all_inner_texts()
    values = {row["name"]: row["cells"]["ks.accuracy"]["value"] for row in board["groups"][0]["rows"]}
    assert [text.split("\t")[1].removesuffix("†") for text in first] == sorted(values, key=values.__getitem__, reverse=True)
    assert ladders.count() == 2
    until("document.querySelectorAll('#view .ladder')[1].querySelectorAll('tbody tr').length === 61")
    hard = page.locator("#view .hard")
    assert "7 of 7" in hard.inner_text()
    assert "no × 6" in hard.inner_text()
    assert page.locator("#view", has_text="What was chosen on dev").count() == 1


def test_shared_places_are_marked_as_such(board: dict[str, Any], show: Any) -> None:
    for row in board["groups"][0]["rows"]:
        row["cells"]["ks.accuracy"] |= (
            {"place": 1, "shared": 1} if row["name"] in ("apc", "tera") else {"place": 3, "shared": 0}
        )
    page = show(board)
    page.evaluate("location.hash = 'task=ks'")
    page.wait_for_selector("#view .ladder")
    assert [text.split("\t")[0] for text in page.locator("#view .ladder").first.locator("tbody tr").all_inner_texts()][:3] == [
        "=1",
        "=1",
        "3",
    ]


# ---------------------------------------------------------------- charts


def test_the_front_is_those_that_nobody_cheaper_beats(page: Any) -> None:
    page.locator("#cost-card").scroll_into_view_if_needed()
    page.wait_for_selector("#cost svg")
    assert page.locator("#cost-note a").all_inner_texts() == ["apc", "tera"]
    assert page.locator("#cost .leads.dot").count() == 2
    assert "Open circles: untrained controls." in page.locator("#cost-note").inner_text()
    assert "fbank" in page.locator("#cost .free").text_content()
    page.locator("#cost-score").select_option("asv.eer")
    assert page.locator("#cost svg").get_attribute("aria-label").startswith("Speaker verification, EER ↓ against Parameters")
    page.locator("#cost-group").select_option(label="Published")
    page.get_by_role("combobox", name="Across").select_option("macs")
    assert "against MACs" in page.locator("#cost svg").get_attribute("aria-label")


def test_the_front_follows_the_filters(page: Any) -> None:
    page.locator("#cost-card").scroll_into_view_if_needed()
    page.wait_for_selector("#cost svg")
    page.locator("#query").evaluate("(node) => { node.value = 'apc'; node.dispatchEvent(new Event('input')); }")
    assert page.locator("#cost-note a").all_inner_texts() == ["apc"]


def test_layers_are_shown_for_a_model_and_for_a_task(page: Any) -> None:
    page.locator("#weights").scroll_into_view_if_needed()
    page.wait_for_selector("#layers rect.heat")
    page.get_by_role("combobox", name="Show").select_option("task:ks")
    assert page.locator("#layers rect.heat").count() == 7 * 4
    assert page.locator("#layers rect.heat title").all_text_contents()[:2] == ["tera, layer 0: 0.032", "tera, layer 1: 0.087"]
    page.get_by_role("combobox", name="Show").select_option("model:tera")
    assert page.locator("#layers text.name").all_text_contents()[0].startswith("PR")


def test_the_chart_shows_a_series_of_checkpoints_over_their_updates(show: Any, board: dict[str, Any]) -> None:
    first = board["groups"][0]["rows"]
    for row, updates in zip(first, (1000, 200, 5000), strict=False):
        row |= {"series": "mine-step", "updates": updates}
    page = show(board)
    page.locator("#cost-card").scroll_into_view_if_needed()
    page.wait_for_selector("#cost svg")
    page.locator("#cost-size").select_option(label="Updates of mine-step")
    names = "{} and {}".format(", ".join(first[place]["name"] for place in (1, 0)), first[2]["name"])
    assert page.locator("#cost svg").get_attribute("aria-label").endswith(f"against Updates; the checkpoints: {names}")
    assert page.locator("#cost polyline.front").get_attribute("points").count(",") == 3
    assert page.locator("#cost .dot").count() == 3
    assert "one model" in page.locator("#cost-line").inner_text()
