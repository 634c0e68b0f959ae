"""Chooses the engine of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from superbench.errors import CommandError
from superbench.runs.engines.local import local
from superbench.runs.jobs import Ended, Job, Watcher
from superbench.runs.options import RunOptions
from superbench.runs.run_plan import RunPlan

Engine = Literal["local", "ray", "slurm"]


def require_engine(given: RunOptions) -> Engine:
    """Returns the engine of a run; raises `CommandError` if it is unknown, or for an option of another engine."""
    name = given.get("engine") or "local"
    engine: Engine | None = next((known for known in get_args(Engine) if known == name), None)
    if engine is None:
        raise CommandError(f"--engine {name!r}: expected one of {', '.join(get_args(Engine))}.")
    belongs = {
        "--address": ("address", "ray"),
        "--store-per-node": ("store_per_node", "ray"),
        "--slurm": ("slurm", "slurm"),
        "--detach": ("detach", "slurm"),
    }
    for option, (key, needed) in belongs.items():
        if given.get(key) and engine != needed:
            raise CommandError(f"{option} belongs to --engine {needed}. Leave it out, or add --engine {needed}.")
    if engine == "slurm":
        from superbench.runs.engines.slurm import settings_of

        settings_of(given.get("slurm"), bool(given.get("detach")))
    return engine


def distributed(
    jobs: Sequence[Job], plan: RunPlan, count: int, given: RunOptions, *, trusted: bool, watcher: Watcher
) -> Iterator[Ended]:
    """Runs jobs with the engine of the options, and yields their ends; `count`: number of workers of the engine `local`."""
    engine = require_engine(given)
    if engine == "ray":
        from superbench.runs.engines.ray import ray_engine

        return ray_engine(jobs, plan, given.get("workers"), given.get("address"), watcher)
    if engine == "slurm":
        from superbench.runs.engines.slurm import settings_of, slurm

        return slurm(jobs, plan, settings_of(given.get("slurm")), bool(given.get("detach")), watcher)
    return local(jobs, plan, count, trusted, watcher)
