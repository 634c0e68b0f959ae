"""`superbench run --dry-run`: what would run, and what it would cost, with nothing extracted, trained or written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from superbench.system.ranges import in_full

if TYPE_CHECKING:
    from rich.table import Table

    from superbench.contract import Recipe
    from superbench.plugins import Loaded
    from superbench.runs.identity import Sounds
    from superbench.runs.options import RunOptions
    from superbench.runs.runner import Asked

States = dict[str, tuple[str, str]]
"""Task -> what a run would do with it, and why not."""
RUNS, FOUND, ABSENT, FAILS = "runs", "found already", "absent", "fails"
COLOURS = {RUNS: "green", FOUND: "dim", ABSENT: "yellow", FAILS: "red"}


def rehearse(upstreams: Sequence[str], tasks: str, **options: Unpack[RunOptions]) -> None:
    """Print the jobs with their state and recipe, then the forecast of those that would run."""
    from superbench.cli.display import console, stages
    from superbench.cli.plan import show
    from superbench.features.store import default_root, sounds_at
    from superbench.runs.commands import healthy
    from superbench.runs.forecast import forecast
    from superbench.runs.runner import asked, processes
    from superbench.system.files import require_folder

    out, root = Path(options["out"]), Path(options.get("store") or default_root())
    require_folder(out, f"--out {out}", make=False)
    wanted = asked(upstreams, tasks, **options).into(out)
    once = {name: replace(task, read=lru_cache(maxsize=1)(task.read)) for name, task in wanted.tasks.items()}
    wanted = replace(wanted, tasks=once)  # reads each corpus once, for the states and for the forecast
    loaded = [healthy(spec, wanted.options.device, root, remember=False) for spec in wanted.specs]
    sounds = sounds_at(root)
    states = {upstream.alias: _states(wanted, upstream, out, sounds) for upstream in loaded}
    console.print("Dry run: nothing is extracted, trained or written.")
    console.print(_table(wanted, states))
    for line in _summary(wanted, states, processes(options, wanted), out):
        console.print(line, markup=False)
    for upstream in loaded:
        left = [wanted.tasks[name] for name, (state, _) in states[upstream.alias].items() if state == RUNS]
        if left:
            with stages() as reporter:
                found = forecast(upstream, left, wanted.options, root, wanted.corpora, reporter)
            show(found)


def _summary(wanted: Asked, states: Mapping[str, States], processes: int, out: Path) -> Iterator[str]:
    """What the table does not say, line by line."""
    options = wanted.options
    count = sum(state == RUNS for rows in states.values() for state, _ in rows.values())
    yield (
        f"{count} of {len(wanted.jobs)} jobs would run, on {options.device}, protocol {options.protocol}, worker processes: "
        f"{processes}. Results: {out}/<upstream>/<task>"
    )
    if deviations := options.deviations(*(task.card for task in wanted.tasks.values())):
        yield f"Overrides of the recipes, which the results will list: {'; '.join(deviations)}."
    reasons = {task: reason for rows in states.values() for task, (_, reason) in rows.items() if reason}
    yield from (f"{task}: {reason}" for task, reason in reasons.items())


def _states(wanted: Asked, upstream: Loaded, out: Path, sounds: Sounds) -> States:
    """Task -> what a run would do with it, and why not."""
    from superbench.errors import MissingCorpus, SuperbenchError
    from superbench.runs.job import finished

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


def _table(wanted: Asked, states: Mapping[str, States]) -> Table:
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
