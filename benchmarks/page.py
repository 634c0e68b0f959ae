"""How long until the board's page of many models answers, and how large is it?

A board of synthetic models with everything that a page shows: ten tasks, 11 columns with intervals, sweeps, layer weights of 13
layers, hardest items, draws for paired differences. Its page is opened from disk in headless Chromium with the network off.
Printed: the file's size, and the time from the start of the navigation to the first frame in which everything answers (the
script has ended and a frame has been drawn), and the same for a page of five models in the same round; then the time between a
click and the next frame.

  python benchmarks/page.py --models 500 --rounds 5
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paired

from superbench.board.page import draws
from superbench.board.page.render import render
from superbench.results.intervals import Replicates
from superbench.results.rows import Column, columns

FAMILIES = ("masked", "contrastive", "autoregressive", "distilled", "spectral")
LAYERS, RATES, HARD = 13, 5, 10
POINTS = {"er": 25, "asv": 10, "qbe": 26, "sd": 20}
FRAME = "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
WATCH = f"addEventListener('DOMContentLoaded', async () => {{ {FRAME}; window.answered = performance.now(); }})"
CLICKS = {
    "sorting by a column": "groups[0].head.querySelector('[data-key=\"ks.accuracy\"] button').click()",
    "typing into the search": "byId('query').value = 'model 1'; byId('query').dispatchEvent(new Event('input'))",
    "opening a model (and reading what stands behind the numbers)": "goTo({ kind: 'model', key: 'model 17' })",
    "going back": "goTo({ kind: 'board', key: '' })",
    "comparing two rows": "pick(groups[0].rows[3]); pick(groups[0].rows[4])",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = paired.parser(__doc__, rounds=5)
    parser.add_argument("--models", type=int, default=500, help="rows of the table (500)")
    options = parser.parse_args(arguments)
    over = columns()
    with tempfile.TemporaryDirectory(prefix="superbench-page-") as folder:
        pages = {name: Path(folder) / f"{name}.html" for name in ("many", "few")}
        pages["many"].write_text(render(board(options.models, over)), encoding="utf-8")
        pages["few"].write_text(render(board(5, over)), encoding="utf-8")
        size = pages["many"].stat().st_size
        print(f"{options.models} models: {size / 1e6:.2f} MB (goal: at most 10 MB)")
        opened, clicks = measured(pages, options.rounds)
    print(f"interactive after {statistics.median(opened['many']):.2f} s (goal: 1 s)")
    for what, seconds in clicks.items():
        print(f"{what}: {statistics.median(seconds):.3f} s")
    ratio = statistics.median(many / few for many, few in zip(opened["many"], opened["few"], strict=True))
    paired.show(ratio, f"page of {options.models} models / page of 5 models, until interactive")


def measured(pages: dict[str, Path], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds until each page is interactive, and from a click to the next frame on the large one; one round warms up."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    opened: dict[str, list[float]] = {name: [] for name in pages}
    clicks: dict[str, list[float]] = {what: [] for what in CLICKS}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=["--no-sandbox"])
        for number in range(-1, rounds):
            for name, path in pages.items():
                context = browser.new_context(viewport={"width": 1440, "height": 900})
                context.set_offline(True)
                context.add_init_script(WATCH)
                page = context.new_page()
                page.goto(path.as_uri())
                page.wait_for_timeout(1500)  # the rows beyond the first
                if number >= 0:
                    opened[name].append(page.evaluate("window.answered") / 1000)
                if number >= 0 and name == "many":
                    for what, script in CLICKS.items():
                        clicks[what].append(_answered(page, script))
                context.close()
        browser.close()
    return opened, clicks


def _answered(page: Any, script: str) -> float:
    return page.evaluate(
        f"async () => {{ const began = performance.now(); {script}; {FRAME}; return performance.now() - began; }}"
    ) / 1000  # fmt: skip


# ---------------------------------------------------------------- the synthetic board


def board(models: int, over: Sequence[Column]) -> dict[str, Any]:
    """A board of one table of so many models."""
    random = np.random.default_rng(7)
    skill = np.sort(random.uniform(0.1, 0.95, models))[::-1]
    rows = [_row(number, float(one), over, random) for number, one in enumerate(skill)]
    share = draws.share(models * len(over))
    drawn = {}
    for column in over:
        together = random.normal(0, 1, 1000)
        values = [row["cells"][column.key]["value"] + together + random.normal(0, 0.3, 1000) for row in rows]
        drawn[column.key] = draws.column({place: Replicates(one, 40, "d") for place, one in enumerate(values)}, share)
    group = {
        "key": "mini-0", "protocol": "mini", "title": "Miniature corpora", "note": "Synthetic.", "official": False,
        "rows": rows, "behind": {"hardest": {column.task: _hardest(models, column.task) for column in over}, "draws": drawn},
    }  # fmt: skip
    shown = [
        {"key": one.key, "task": one.task, "metric": one.metric, "title": one.title, "label": one.label, "unit": one.unit,
         "higher": one.higher_is_better, "primary": one.primary, "domain": one.domain, "corpus": "A corpus"}
        for one in over
    ]  # fmt: skip
    return {"title": "superbench board", "made": "2026-01-31", "version": "0.1.0", "columns": shown, "groups": [group]}


def _row(number: int, skill: float, over: Sequence[Column], random: np.random.Generator) -> dict[str, Any]:
    tasks = list(dict.fromkeys(column.task for column in over))
    return {
        "name": f"model {number}", "origin": "local", "source": "", "kind": "pretrained", "family": FAMILIES[number % 5],
        "corpus": f"corpus {number % 7}", "params": int(10 ** random.uniform(6, 9)), "macs": float(10 ** random.uniform(9, 13)),
        "rtf": float(10 ** random.uniform(-3, 0)), "hop": 320, "layers": LAYERS, "dim": 768, "revision": f"{number:016x}",
        "superb": None, "rank": number + 1, "tasks": len(tasks),
        "cells": {column.key: _cell(number, skill, column, random) for column in over},
        "details": {task: _details(task, random) for task in tasks},
    }  # fmt: skip


def _cell(number: int, skill: float, column: Column, random: np.random.Generator) -> dict[str, Any]:
    scale = 1.0 if column.unit == "fraction" else 100.0
    share = (skill if column.higher_is_better else 1 - skill) + random.normal(0, 0.03)
    value = scale * float(np.clip(share, 0.01, 0.99))
    return {
        "value": value, "lo": value - 0.03 * scale, "hi": value + 0.03 * scale, "method": "cluster bootstrap over 40 groups",
        "best": number == 0, "tied": number in (1, 2, 3), "deviations": [], "place": number + 1, "shared": 0, "sure": True,
    }  # fmt: skip


def _details(task: str, random: np.random.Generator) -> dict[str, Any]:
    points = POINTS.get(task, RATES)
    sweep = {
        "points": points, "chosen": [3], "lr": [10.0 ** -(point % RATES + 1) for point in range(points)], "steps": 20_000,
        "dev": [round(float(dev), 3) for dev in random.uniform(20, 90, points)], "setting.step": list(range(points)),
    }  # fmt: skip
    return {
        "sweep": sweep, "layers": [round(float(weight), 4) for weight in random.dirichlet(np.ones(LAYERS))],
        "seconds": {"extract": 100.1, "train": 200.4, "evaluate": 30.7}, "deviations": [],
        "notes": ["silence was removed by an energy gate that stands for SoX's effect `silence`"],
    }  # fmt: skip


def _hardest(models: int, task: str) -> dict[str, Any]:
    item = {
        "fold": "all", "error": 0.9, "wrong": models // 2, "by": ("xo" * models)[:models],
        "reference": "A REFERENCE OF SOME LENGTH", "said": [["AN ANSWER OF SOME LENGTH", 3]],
    }  # fmt: skip
    return {"of": models, "items": [{"id": f"{task}-{number:04}/0001.wav", **item} for number in range(HARD)]}


if __name__ == "__main__":
    main()
