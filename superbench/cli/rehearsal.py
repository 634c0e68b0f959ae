"""`superbench run --dry-run`: what would run, and what it would cost, with nothing extracted, trained or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superbench.ranges import in_full

if TYPE_CHECKING:
    from rich.table import Table

    from superbench.contract import Recipe
    from superbench.job import Sounds
    from superbench.registry import Loaded
    from superbench.runner import Asked

RUNS, FOUND, ABSENT, FAILS = "runs", "found already", "absent", "fails"
COLOURS = {RUNS: "green", FOUND: "dim", ABSENT: "yellow", FAILS: "red"}


def rehearse(
    upstreams: Sequence[str], tasks: str, *, out: Path, store: Path | None, workers: int | None, **options: Any
) -> None:
    """Print the jobs with their state and recipe, then the forecast of those that would run."""
    from superbench.cli.display import console
    from superbench.cli.plan import forecast_of, healthy, show
    from superbench.features.store import default_root, sounds_at
    from superbench.files import require_folder
    from superbench.runner import asked, default_workers

    require_folder(out, f"--out {out}", make=False)
    wanted = asked(upstreams, tasks, **options).into(out)
    once = {name: replace(task, read=lru_cache(maxsize=1)(task.read)) for name, task in wanted.tasks.items()}
    wanted = replace(wanted, tasks=once)  # reads each corpus once, for the states and for the forecast
    given = wanted.options
    loaded = [healthy(spec, given.device, store, remember=False) for spec in wanted.specs]
    sounds = sounds_at(store or default_root())
    states = {upstream.alias: _states(wanted, upstream, out, sounds) for upstream in loaded}
    count = sum(state == RUNS for rows in states.values() for state, _ in rows.values())
    console.print("Dry run: nothing is extracted, trained or written.")
    console.print(_table(wanted, states))
    processes = max(1, min(workers or default_workers(given.device), len(wanted.jobs)))
    console.print(
        f"{count} of {len(wanted.jobs)} jobs would run, on {given.device}, protocol {given.protocol}, worker processes: {processes}. Results: {out}/<upstream>/<task>",
        markup=False,
    )
    deviations = given.deviations(*(task.card for task in wanted.tasks.values()))
    if deviations:
        console.print(f"Overrides of the recipes, which the results will list: {'; '.join(deviations)}.", markup=False)
    for task, reason in {task: reason for rows in states.values() for task, (_, reason) in rows.items() if reason}.items():
        console.print(f"{task}: {reason}", markup=False)
    for upstream in loaded:
        left = [wanted.tasks[name] for name, (state, _) in states[upstream.alias].items() if state == RUNS]
        if left:
            show(forecast_of(upstream, left, given, wanted.corpora, store, quiet=False))


def _states(wanted: Asked, upstream: Loaded, out: Path, sounds: Sounds) -> dict[str, tuple[str, str]]:
    """Task -> what a run would do with it, and why not."""
    from superbench.errors import MissingCorpus, SuperbenchError
    from superbench.job import finished

    found = {}
    for name, task in wanted.tasks.items():
        try:
            earlier = finished(task, upstream, wanted.corpora, out, wanted.options, sounds)
            found[name] = (FOUND if earlier else RUNS, "")
        except MissingCorpus as error:
            found[name] = (ABSENT if wanted.lenient else FAILS, str(error))
        except SuperbenchError as error:
            found[name] = (FAILS, str(error))
    return found


def _table(wanted: Asked, states: dict[str, dict[str, tuple[str, str]]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in ("upstream", "task", "state", "updates × batch", "dev every", "learning rates", "seeds", "variants"):
        table.add_column(header)
    for alias, rows in states.items():
        for name, (state, _) in rows.items():
            recipe = wanted.options.recipe(wanted.tasks[name])
            table.add_row(alias, name, Text(state, COLOURS[state]), *_recipe(wanted, recipe))
    return table


def _recipe(wanted: Asked, recipe: Recipe) -> list[str]:
    if not recipe.steps:
        return ["–", "–", "–", "–", ", ".join(recipe.variants)]
    points = wanted.options.points(recipe)
    batch = f"{recipe.batch} × {recipe.accumulate}" if recipe.accumulate > 1 else str(recipe.batch)
    rates = " ".join(in_full(rate) for rate in dict.fromkeys(point.lr for point in points))
    seeds = " ".join(str(seed) for seed in dict.fromkeys(point.seed for point in points))
    return [f"{recipe.steps} × {batch}", str(recipe.evaluate_every), rates, seeds, ", ".join(recipe.variants)]
