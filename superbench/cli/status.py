"""`superbench status`: what runs where, how far it is, what failed."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from superbench.cli.arguments import AsJson


def status(
    out: Annotated[Path, typer.Argument(help="Folder of results of a run")],
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds, until all runs have ended")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what runs where, how much is done, and when the rest will be.

    Works while runs of any engine write to OUT, from another terminal or machine, and afterwards.
    Example: superbench status results --watch
    """
    from superbench.cli.display import console
    from superbench.runs.status import status as status_of

    while True:
        runs, now = status_of(out), time.time()
        if as_json:
            print(json.dumps([asdict(run) | {"alive": run.alive(now)} for run in runs], ensure_ascii=False))
        else:
            for run in runs:
                console.print(_table(run, now))
        if not watch or not any(run.alive(now) for run in runs):
            return
        time.sleep(2)


def _table(run: object, now: float) -> object:
    """Return the table of a run: a row for each job."""
    from rich.table import Table
    from rich.text import Text

    from superbench.cli.remaining_time import duration, left
    from superbench.runs.status import ENDS, RunStatus

    assert isinstance(run, RunStatus)
    state = "running" if run.alive(now) else "ended" if run.over else f"no sign of life for {duration(now - run.updated)}"
    over = sum(job.state in ENDS for job in run.jobs)
    state = "submitted" if run.detached and not run.over and all(job.state == "waiting" for job in run.jobs) else state
    facts = [f"{run.host}, process {run.process}", run.engine, state, f"{over} of {len(run.jobs)} jobs"]
    facts += [f"{run.speed:.0f} s of sound per second"] if run.speed and run.alive(now) else []
    facts += [left(run.remaining)] if run.remaining is not None and run.alive(now) else []
    table = Table(title=" · ".join(facts), title_justify="left")
    for column in ("upstream", "task", "state", "progress", "time", ""):
        table.add_column(column)
    for job in run.jobs:
        share = (
            f"{job.stage} {100 * job.finished / job.total:.0f} %" if job.state in ("running", "stopped") and job.total else ""
        )
        message = job.score or job.message.partition("\n")[0]
        spent = duration(job.seconds) if job.seconds else ""
        table.add_row(*(Text(cell) for cell in (job.upstream, job.task, job.state, share, spent, message)))
    return table
