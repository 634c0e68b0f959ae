"""A board of two tables with everything that a page can show, and a browser without network and with short timeouts."""

from __future__ import annotations

import copy
import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superbench.board.page import draws
from superbench.board.page.render import render
from superbench.results.intervals import Replicates

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
LOCAL = [  # name, kind, family, params, skill
    ("fbank", "spectral", "spectral", 0, 0.2),
    ("mfcc", "spectral", "spectral", None, 0.25),
    ("apc:untrained", "untrained", "apc", 1_150_000, 0.35),
    ("mockingjay", "pretrained", "mockingjay", 15_400_000, 0.6),
    ("apc", "pretrained", "apc", 1_150_000, 0.75),
    ("tera", "pretrained", "tera", 15_400_000, 0.9),
    (HOSTILE, "pretrained", HOSTILE, 9_900_000, 0.5),
]


def column(key: str, title: str, unit: str, higher: bool, domain: str) -> dict[str, Any]:
    task, metric = key.split(".")
    label = f"{task.upper()} {metric.replace('_', ' ')} {'↑' if higher else '↓'}"
    return {"key": key, "task": task, "metric": metric, "title": title, "label": label, "unit": unit, "higher": higher,
            "primary": metric != "slot_value_cer", "domain": domain, "corpus": f"Corpus of {task}"}  # fmt: skip


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
    sweep = {"points": 4, "chosen": [2], "lr": [1e-4, 1e-3, 1e-2, 1e-1], "dev": [60.0 + number, 82.5, 88.1, None],
             "steps": 1000, "status": [None, None, None, "diverged"]}  # fmt: skip
    settings = {"points": 4, "chosen": [3], "lr": None, "dev": [0.0, 0.1, 0.2, 0.3], "setting.layer": [0, 1, 2, 3],
                "setting.distance": "cosine"}  # fmt: skip
    common = {"seconds": {"extract": 1.2, "train": 3.4, "evaluate": 0.2}}
    weights = [math.exp(-abs(layer - 1 - number % 3)) for layer in range(4)]
    mix = [weight / sum(weights) for weight in weights]
    cards = {
        task: {"sweep": sweep, "layers": mix, "notes": ["dev and test share no speaker"], **common}
        for task in ("pr", "asr", "ks", "sid", "er")
    }
    return {**cards, "qbe": {"sweep": settings, "layers": [], "notes": [], **common}}


def local_row(number: int, name: str, kind: str, family: str, params: int | None, skill: float) -> dict[str, Any]:
    shortened = name == HOSTILE
    return {"name": name, "origin": "local", "source": "", "kind": kind, "family": family, "corpus": None, "params": params,
            "macs": None, "rtf": None, "hop": 160, "layers": 4, "dim": 256, "revision": "ab12",
            "superb": None if shortened else 1000 * skill - 100, "rank": None if shortened else 6 - number, "tasks": 10,
            "cells": cells(skill, 0.06, shortened), "details": details(number)}  # fmt: skip


def published_row(number: int) -> dict[str, Any]:
    row = local_row(
        number, f"Published {number}", "published", "masked" if number % 2 else "contrastive", None, 0.15 + 0.012 * number
    )
    return row | {"origin": "published", "source": "superb2021", "params": (number % 17) * 5_000_000 or None,
                  "macs": 1e11 * (number + 1), "corpus": ("LS 960 hr", "LL 60k hr")[number % 3 == 0],
                  "cells": cells(0.15 + 0.012 * number, None, False), "details": {}, "hop": None, "layers": None, "dim": None,
                  "revision": "", "rank": 61 - number}  # fmt: skip


def resampled(rows: list[dict[str, Any]]) -> dict[str, Replicates]:
    """Draws of the keyword column: all rows vary together, each with a small variation of its own; fbank and mfcc are equal."""
    random = np.random.default_rng(5)
    together = random.normal(0, 3, 1000)
    own = {row["name"]: random.normal(0, 0.5, 1000) for row in rows}
    return {
        row["name"]: Replicates(row["cells"]["ks.accuracy"]["value"] + together + own[row["name"]], 48, "design")
        for row in rows
    }


def hardest(rows: int) -> dict[str, Any]:
    items = [{"id": "yes/1.wav", "fold": "all", "error": 1.0, "wrong": rows, "by": "x" * rows, "reference": "yes",
              "said": [["no", rows - 1], [HOSTILE, 1]]},
             {"id": "no/2.wav", "fold": "all", "error": 0.5, "wrong": 3, "by": ("xo" * rows)[:rows], "reference": "no",
              "said": [["go", 3]]}]  # fmt: skip
    return {"ks": {"of": rows, "items": items}}


def full_board() -> dict[str, Any]:
    local = [local_row(number, *row) for number, row in enumerate(LOCAL)]
    drawn = dict(enumerate(resampled(local).values()))
    return {
        "title": "Miniature <board>", "made": "2026-01-31", "version": "0.1.0", "columns": [column(*row) for row in COLUMNS],
        "groups": [
            {"key": "mini-0", "title": "Miniature corpora", "note": "Rows of this table may be compared.", "official": False,
             "badge": "not official",
             "rows": local,
             "behind": {"data": {"ks": {"fingerprint": "9c1f0a", "items": {"train": 900, "test": 300}}},
                        "hardest": hardest(len(local)), "draws": {"ks.accuracy": draws.column(drawn, 1000)}}},
            {"key": "published-1", "title": "Published", "note": "Not comparable with the rows above.", "official": True,
             "badge": "official protocol",
             "rows": [published_row(number) for number in range(61)]},
        ],
    }  # fmt: skip


@pytest.fixture
def board() -> dict[str, Any]:
    """The board's data, a copy that a test may change."""
    return full_board()


@pytest.fixture(scope="session")
def hostile() -> str:
    """A model's name that contains markup."""
    return HOSTILE


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the board's page, as a `file://` URL."""
    path = tmp_path_factory.mktemp("page") / "board.html"
    path.write_text(render(full_board()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; for a module, since other tests start Playwright themselves and two of it do not run in one process."""
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


@pytest.fixture(scope="module")
def tab(browser: Any) -> Iterator[tuple[Any, list[str]]]:
    """A tab with the network off, and what it complained of; for a module, since a new one takes longer than most tests."""
    context = browser.new_context(accept_downloads=True)
    context.set_offline(True)
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    faults: list[str] = []
    opened.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else faults.append(request.url)
    )
    yield opened, faults
    context.close()


@pytest.fixture
def page(tab: tuple[Any, list[str]], address: str) -> Iterator[Any]:
    """The page on a desktop, opened for the first time; at the end nothing may have been written to the console or asked of a
    network."""
    opened, faults = tab
    opened.set_viewport_size({"width": 1440, "height": 900})
    opened.emulate_media(color_scheme="light", reduced_motion="no-preference")
    opened.goto(address)
    yield opened
    opened.evaluate("localStorage.clear()")
    opened.goto("about:blank")
    said, faults[:] = list(faults), []
    assert said == []


@pytest.fixture
def show(page: Any, tmp_path: Path) -> Any:
    """Open the page of another board: `show(board)`."""

    def opened(changed: dict[str, Any]) -> Any:
        path = tmp_path / "other.html"
        path.write_text(render(copy.deepcopy(changed)), encoding="utf-8")
        page.goto(path.as_uri())
        return page

    return opened


@pytest.fixture
def until(page: Any) -> Any:
    """Wait until a JavaScript expression holds: `until("state.picked.length === 2")`. Playwright's own way of waiting evaluates
    text inside the page, which the page forbids."""

    def waited(expression: str, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not page.evaluate(expression):
            assert time.monotonic() < end, f"never came true: {expression}"
            page.wait_for_timeout(30)

    return waited
