"""Progress display: bars with remaining times on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from superbench.cli.printing import spelled
from superbench.cli.remaining_time import left
from superbench.runs.pace import Pace
from superbench.system.spelling import visible

if TYPE_CHECKING:
    from superbench.runs.jobs import Ended, Job
    from superbench.runs.report import Report

PLAIN_SECONDS = 15.0
"""Seconds between the progress lines of a running job if output does not go to a terminal."""
FIRST_PART = 0.01
"""The part of a stage that must be done before its remaining time is estimated."""


class PlainConsole(Console):
    """A console that replaces characters that its encoding lacks, and control characters, before columns are laid out.

    The console of the commands reads no markup in strings, because a model may be named `[/foo]`. Colours are set with `Text`.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `Text` from a string."""
        return super().render_str(spelled(visible(text), self.encoding), **options)

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        """Yield segments; none of their texts contains control characters."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


console = PlainConsole(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)


def bars() -> Progress:
    """Return the progress bars of all commands. They are disabled if output goes into a pipe, even if FORCE_COLOR is set (as in
    Jupyter)."""
    return Progress(
        TextColumn("{task.description}", markup=False), BarColumn(24), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(),
        TextColumn("left"), RemainingColumn(), console=console, transient=True, disable=not (console.is_terminal and sys.stdout.isatty()),
    )  # fmt: skip


class RemainingColumn(TimeRemainingColumn):
    """The remaining time of a bar: that of its field `left`, if it has one, or else from the bar's own speed."""

    def render(self, task: Task) -> Text:
        """Return the text of the column."""
        return Text(task.fields["left"]) if "left" in task.fields else super().render(task)


class StageBars:
    """A `Reporter` for one job in this process: one bar per stage."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self._bars, self._spoken = progress, dict[str, TaskID](), time.monotonic()
        self._began: dict[str, tuple[float, float]] = {}

    def advance(self, stage: str, done: float, total: float) -> None:
        """Move the bar of a stage; without a terminal, print a line every `PLAIN_SECONDS`."""
        if stage not in self._bars:
            self._bars[stage] = self.progress.add_task(stage, total=total)
            self._began[stage] = (time.monotonic(), done)
        self.progress.update(self._bars[stage], completed=done, total=total)
        now = time.monotonic()
        if self.progress.disable and now - self._spoken > PLAIN_SECONDS:
            self._spoken = now
            began, first = self._began[stage]  # work done before (a resumed run) does not count for the pace
            pace = (now - began) / (done - first) if done - first > FIRST_PART * total else None
            more = "" if pace is None else f", {left(pace * (total - done))}"
            print(f"  {stage} {100 * done / max(total, 1e-9):.0f}%{more}", flush=True)

    def note(self, text: str) -> None:
        """Print a remark."""
        self.progress.console.print(f"  {text}")


@contextmanager
def stages() -> Iterator[StageBars]:
    """Show the bars of one job within the context."""
    with bars() as progress:
        yield StageBars(progress)


class RunDisplay:
    """A `Watcher` of a run: one bar for each running job, one for all jobs, and a line for each job that ends.

    Without a terminal, each of these lines contains the remaining time; see `Pace`.
    """

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self.progress, self.clock, self.pace = progress, clock, Pace(clock)
        self._all = progress.add_task("all jobs", total=None, left="not known yet")
        self._bars: dict[Job, TaskID] = {}
        self._spoken: dict[Job, float] = {}
        self._count = self._over = 0
        self._shown = 0.0

    def announced(self, lines: Sequence[str]) -> None:
        """Print what the run will do."""
        for line in lines:
            self.progress.console.print(f"  {line}", style="dim")
        sys.stdout.flush()

    def planned(self, shares: Mapping[Job, float]) -> None:
        """Set the length of the bar of all jobs."""
        self.pace.planned(shares)
        self._count = len(shares)
        self.progress.update(self._all, total=len(shares))
        seconds = self._show_remaining()
        if seconds is not None and self.progress.disable:
            jobs = "1 job" if self._count == 1 else f"{self._count} jobs"
            self.progress.console.print(Text(f"  {jobs}, {left(seconds)}, as far as earlier runs tell", "dim"))

    def started(self, job: Job) -> None:
        """Add a bar for the job."""
        self.pace.started(job)
        self._spoken[job] = self.clock()
        self._bars[job] = self.progress.add_task(str(job), total=None)

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        """Move the bar of the job."""
        self.progress.update(self._bars[job], description=f"{job} · {stage}", completed=done, total=total)
        now = self.clock()
        if now - self._shown > 1.0:
            self._show_remaining()
        if self.progress.disable and now - self._spoken[job] > PLAIN_SECONDS:
            self._spoken[job] = now
            print(visible(f"  {job} · {stage} {100 * done / max(total, 1e-9):.0f}%"), flush=True)

    def note(self, job: Job, text: str) -> None:
        """Print a remark."""
        self.progress.console.print(f"  {job}: {text}")

    def ended(self, ended: Ended) -> None:
        """Replace the job's bar by a line."""
        job = ended.job
        if job in self._bars:
            self.progress.remove_task(self._bars.pop(job))
        spent = self.pace.ended(ended)
        self._over += 1
        self.progress.update(self._all, completed=self._over, visible=self._over < self._count)
        seconds = self._show_remaining()
        more = "" if seconds is None or self._over == self._count or not self.progress.disable else f", {left(seconds)}"
        self.progress.console.print(_line(ended), Text(f" {spent:.0f} s ({self._over}/{self._count}{more})", "dim"))
        sys.stdout.flush()

    def _show_remaining(self) -> float | None:
        """Update the remaining time of all jobs, and return it."""
        self._shown, seconds = self.clock(), self.pace.remaining()
        if seconds is not None:
            self.progress.update(self._all, left=left(seconds).removesuffix(" left"))
        return seconds


def _line(ended: Ended) -> Text:
    job = visible(f"{ended.job.spec.alias:24} {ended.job.task:4}")
    if ended.result is not None:
        score = ended.result.scores[ended.result.primary]
        half = f" ± {(score.ci[1] - score.ci[0]) / 2:.2f}" if score.ci else ""
        unit = " %" if score.unit == "%" else ""
        earlier = (" (existing result)", "dim") if ended.state == "found" else ""
        return Text.assemble(("✓", "green"), f" {job} {ended.result.primary} {score.value:.2f}{half}{unit}", earlier)
    mark = ("–", "yellow") if ended.state == "absent" else ("✗", "red")
    return Text.assemble(mark, f" {job} {ended.state}")


def split_of(report: Report) -> str:
    """Return a line with the time of each stage, summed over all new results, and the hours of audio that a model processed."""
    jobs = report.of("done")
    parts = {"extraction": 0.0, "heads": 0.0, "scoring": 0.0}
    for seconds in (ended.result.seconds for ended in jobs if ended.result):
        parts["extraction"] += seconds.extract
        parts["heads"] += seconds.train
        parts["scoring"] += seconds.evaluate
    work = " · ".join(f"{name} {value:.0f} s" for name, value in parts.items())
    read, passed = sum(job.sound_seconds for job in jobs), sum(job.passed_seconds for job in jobs)
    passes = (
        f" · models processed {passed / 60:.1f} min of {read / 60:.1f} min of audio ({passed / max(read, 1e-9):.2f} passes)"
    )
    return f"{report.seconds:.0f} s wall time; work of all processes: {work}{passes if jobs else ''}"


def name_broken() -> None:
    """Print to standard error which registered tasks are left out because they cannot be loaded."""
    from superbench import plugins

    for reason in plugins.broken().values():
        print(visible(f"superbench: left out: {reason}"), file=sys.stderr)
