"""What a person sees while work goes on: bars with honest remaining times on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import mean
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from superbench.cli.printing import spelled

if TYPE_CHECKING:
    from superbench.bench import Ended, Job
    from superbench.runner import Report

PLAIN_SECONDS = 15.0
"""How often a running job speaks where there is no terminal."""


class PlainConsole(Console):
    """A console that spells what its encoding lacks plainly, before columns are laid out."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Text from a string, which may hold markup."""
        return super().render_str(spelled(text, self.encoding), **options)


console = PlainConsole(highlight=False, width=None if sys.stdout.isatty() else 120)


def bars() -> Progress:
    """Progress bars as all commands show them."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip


class StageBars:
    """A `Reporter` for one job in this process: one bar per stage."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self._bars, self._spoken = progress, dict[str, TaskID](), time.monotonic()
        self._began: dict[str, tuple[float, float]] = {}

    def advance(self, stage: str, done: float, total: float) -> None:
        """Move the bar of a stage; off a terminal, print a line now and then."""
        if stage not in self._bars:
            self._bars[stage] = self.progress.add_task(stage, total=total)
            self._began[stage] = (time.monotonic(), done)
        self.progress.update(self._bars[stage], completed=done, total=total)
        now = time.monotonic()
        if self.progress.disable and now - self._spoken > PLAIN_SECONDS:
            self._spoken = now
            began, first = self._began[stage]  # what was done before (a resumed run) does not count for the pace
            left = f", about {(now - began) * (total - done) / (done - first) / 60:.1f} min left" if done > first else ""
            print(f"  {stage} {100 * done / max(total, 1e-9):.0f}%{left}", flush=True)

    def note(self, text: str) -> None:
        """Print a remark."""
        self.progress.console.print(f"  {text}")


@contextmanager
def stages() -> Iterator[StageBars]:
    """Bars for one job."""
    with bars() as progress:
        yield StageBars(progress)


class RunDisplay:
    """A `Watcher` of a run: one bar for each running job, one for the whole, a line for each job that ends.

    The remaining time follows what was seen: a task that took long for one upstream is expected to take long for the next, and
    a task that nobody has seen yet takes its rough share of the work.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._all = progress.add_task("[bold]all jobs", total=None)
        self._shares: Mapping[Job, float] = {}
        self._bars: dict[Job, TaskID] = {}
        self._began: dict[Job, float] = {}
        self._spoken: dict[Job, float] = {}
        self._seconds: dict[str, list[float]] = {}
        self._done: dict[Job, float] = {}
        self._start = time.monotonic()

    @property
    def count(self) -> int:
        """How many jobs there are."""
        return len(self._shares)

    def planned(self, shares: Mapping[Job, float]) -> None:
        """The bar of the whole gets its length."""
        self._shares = shares
        self.progress.update(self._all, total=len(shares))

    def started(self, job: Job) -> None:
        """A new bar."""
        self._began[job] = self._spoken[job] = time.monotonic()
        self._bars[job] = self.progress.add_task(str(job), total=None)

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        """Move the job's bar."""
        self.progress.update(self._bars[job], description=f"{job} · {stage}", completed=done, total=total)
        now = time.monotonic()
        if self.progress.disable and now - self._spoken[job] > PLAIN_SECONDS:
            self._spoken[job] = now
            print(f"  {job} · {stage} {100 * done / max(total, 1e-9):.0f}%", flush=True)

    def note(self, job: Job, text: str) -> None:
        """Print a remark."""
        self.progress.console.print(f"  {job}: {text}")

    def ended(self, ended: Ended) -> None:
        """Replace the job's bar by a line."""
        job = ended.job
        if job in self._bars:
            self.progress.remove_task(self._bars.pop(job))
        spent = time.monotonic() - self._began.get(job, time.monotonic())
        self._seconds.setdefault(job.task, []).append(spent)
        self._done[job] = spent
        self.progress.update(self._all, completed=len(self._done), visible=len(self._done) < self.count)
        left = f", about {self.remaining() / 60:.1f} min left" if len(self._done) < self.count and self.progress.disable else ""
        self.progress.console.print(f"{_line(ended)}  [dim]{spent:.0f} s ({len(self._done)}/{self.count}{left})[/dim]")
        sys.stdout.flush()

    def remaining(self) -> float:
        """Seconds that the rest will take at the pace so far."""
        now = time.monotonic()
        done = sum(self._done.values())
        pace = done / max(sum(self._shares[job] for job in self._done), 1e-9)
        expected = {
            job: mean(self._seconds[job.task]) if job.task in self._seconds else share * pace
            for job, share in self._shares.items()
            if job not in self._done
        }
        left = sum(max(seconds - (now - self._began.get(job, now)), 0.0) for job, seconds in expected.items())
        return left * (now - self._start) / max(done, 1e-9)


def _line(ended: Ended) -> str:
    job = f"{ended.job.spec.alias:24} {ended.job.task:4}"
    if ended.result is not None:
        score = ended.result.scores[ended.result.primary]
        half = f" ± {(score.ci[1] - score.ci[0]) / 2:.2f}" if score.ci else ""
        unit = " %" if score.unit == "%" else ""
        again = " [dim](was there)[/dim]" if ended.state == "found" else ""
        return f"[green]✓[/green] {job} {ended.result.primary} {score.value:.2f}{half}{unit}{again}"
    mark = "[yellow]–[/yellow]" if ended.state == "absent" else "[red]✗[/red]"
    return f"{mark} {job} {ended.state}"


def split_of(report: Report) -> str:
    """Where the time of a run went, summed over the results made in it, and how much of their sound passed a model."""
    made = report.of("done")
    parts = {"extraction": 0.0, "heads": 0.0, "scoring": 0.0}
    for seconds in (ended.result.seconds for ended in made if ended.result):
        parts["extraction"] += seconds.extract
        parts["heads"] += seconds.train
        parts["scoring"] += seconds.evaluate
    work = " · ".join(f"{name} {value:.0f} s" for name, value in parts.items())
    heard, passed = sum(one.sound_seconds for one in made), sum(one.passed_seconds for one in made)
    passes = f" · {passed / 60:.1f} min of sound through models for {heard / 60:.1f} min read ({passed / max(heard, 1e-9):.2f} passes)"
    return f"{report.seconds:.0f} s wall; work of all processes: {work}{passes if made else ''}"
