"""`superbench run --dry-run`: shows the jobs that would run and their cost; nothing is extracted, trained or written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from superbench.system.ranges import in_full

if TYPE_CHECKING:
    from rich.table import Table

    from superbench.contract import Recipe
    from superbench.plugins import Loaded
    from superbench.runs.asked import Asked
    from superbench.runs.identity import Sounds
    from superbench.runs.options import RunOptions
    from superbench.system.progress import Reporter

States = dict[str, tuple[str, str]]
"""Task -> (state, reason if it would not run)."""
RUNS, FOUND, ABSENT, FAILS = "runs", "found already", "absent", "fails"
COLOURS = {RUNS: "green", FOUND: "dim", ABSENT: "yellow", FAILS: "red"}


def rehearse(upstreams: Sequence[str], tasks: str, **options: Unpack[RunOptions]) -> None:
    """Print the jobs with their state and recipe, then the forecast of those that would run.

    The code of own models and tasks is called in a child process.
    """
    from superbench.runs.asked import asked
    from superbench.runs.commands import run_apart
    from superbench.system.progress import Silence

    trusted = asked(upstreams, tasks, **options).trusted
    run_apart(partial(_rehearse, upstreams, tasks, options), Silence(), " or ".join(upstreams), built_in=trusted)


def _rehearse(upstreams: Sequence[str], tasks: str, options: RunOptions, _: Reporter) -> None:
    from superbench.cli.display import console, stages
    from superbench.cli.plan import show
    from superbench.features.store import default_root, sounds_at
    from superbench.runs.asked import asked
    from superbench.runs.commands import healthy
    from superbench.runs.forecast import forecast
    from superbench.runs.runner import processes
    from superbench.system.files import require_folder

    out, root = Path(options["out"]), Path(options.get("store") or default_root())
    require_folder(out, f"--out {out}", make=False)
    request = asked(upstreams, tasks, **options).into(out)
    once = {name: replace(task, read=lru_cache(maxsize=1)(task.read)) for name, task in request.tasks.items()}
    request = replace(request, tasks=once)  # each corpus is read once, for the states and for the forecast
    loaded = [healthy(spec, request.options.device, root, remember=False) for spec in request.specs]
    sounds = sounds_at(root)
    states = {upstream.alias: _states(request, upstream, out, sounds) for upstream in loaded}
    console.print("Dry run: nothing is extracted, trained or written.")
    console.print(_table(request, states))
    for line in _summary(request, states, processes(options, request), out):
        console.print(line, markup=False)
    for upstream in loaded:
        pending = [request.tasks[name] for name, (state, _) in states[upstream.alias].items() if state == RUNS]
        if pending and request.options.protocol == "in-context":
            console.print(
                f"{upstream.alias}: no features are extracted in context; the prompts pass through the model.", markup=False
            )
        elif pending:
            with stages() as reporter:
                cost = forecast(upstream, pending, request.options, root, request.corpora, reporter)
            show(cost)


def _summary(request: Asked, states: Mapping[str, States], processes: int, out: Path) -> Iterator[str]:
    """Yield lines with the facts that the table does not contain."""
    options = request.options
    count = sum(state == RUNS for rows in states.values() for state, _ in rows.values())
    yield (
        f"{count} of {len(request.jobs)} jobs would run, on {options.device}, protocol {options.protocol}, worker processes: "
        f"{processes}. Results: {out}/<upstream>/<task>"
    )
    if deviations := options.deviations(*(task.card for task in request.tasks.values())):
        yield f"Deviations from the recipes, which the results will list: {'; '.join(deviations)}."
    reasons = {task: reason for rows in states.values() for task, (_, reason) in rows.items() if reason}
    yield from (f"{task}: {reason}" for task, reason in reasons.items())


def _states(request: Asked, upstream: Loaded, out: Path, sounds: Sounds) -> States:
    """Return for each task its state, and the reason if it would not run."""
    from superbench.errors import MissingCorpus, SuperbenchError, Undefined
    from superbench.runs.job import finished

    states = {}
    for name, task in request.tasks.items():
        try:
            earlier = finished(task, upstream, request.corpora, out, request.options, sounds)
            states[name] = (FOUND if earlier else RUNS, "")
        except (MissingCorpus, Undefined) as error:
            states[name] = (ABSENT if request.lenient else FAILS, str(error))
        except SuperbenchError as error:
            states[name] = (FAILS, str(error))
    return states


def _table(request: Asked, states: Mapping[str, States]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in ("upstream", "task", "state", "updates × batch", "dev every", "learning rates", "seeds", "variants"):
        table.add_column(header)
    for alias, rows in states.items():
        for name, (state, _) in rows.items():
            recipe = request.options.recipe(request.tasks[name])
            table.add_row(alias, name, Text(state, COLOURS[state]), *_recipe(request, recipe))
    return table


def _recipe(request: Asked, recipe: Recipe) -> list[str]:
    if not recipe.steps:
        return ["–", "–", "–", "–", ", ".join(recipe.variants)]
    points = request.options.points(recipe)
    batch = f"{recipe.batch} × {recipe.accumulate}" if recipe.accumulate > 1 else str(recipe.batch)
    rates = " ".join(in_full(rate) for rate in dict.fromkeys(point.lr for point in points))
    seeds = " ".join(str(seed) for seed in dict.fromkeys(point.seed for point in points))
    return [f"{recipe.steps} × {batch}", str(recipe.evaluate_every), rates, seeds, ", ".join(recipe.variants)]
