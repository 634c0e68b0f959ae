"""Shows the progress of a run in a Jupyter notebook: a bar, the running jobs, and a line for each job that ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from superbench.results.html import text
from superbench.runs.jobs import Ended, Job, NoWatcher, Watcher

REDRAW_SECONDS = 0.3
"""Shortest time between two updates of the display while a stage advances."""


def usual_watcher() -> Watcher:
    """Returns the watcher of a run without a `watcher` option: a display in a notebook, otherwise none."""
    return NotebookDisplay(_display()) if in_notebook() else NoWatcher()


def in_notebook() -> bool:
    """Returns whether this process is the kernel of a notebook; False for scripts and for IPython in a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _display() -> Callable[[str], object]:
    """Returns a function that shows HTML below the cell, in place of the HTML before."""
    from IPython.display import HTML, display

    handle = display(HTML(""), display_id=True)
    return lambda content: handle.update(HTML(content))


class NotebookDisplay:
    """A `Watcher` that shows HTML with `draw`; each call replaces the HTML before."""

    def __init__(self, draw: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self.draw, self.clock = draw, clock
        self._shares: Mapping[Job, float] = {}
        self._running: dict[Job, str] = {}
        self._lines: list[str] = []
        self._finished, self._drawn = 0.0, float("-inf")

    def announced(self, lines: Sequence[str]) -> None:
        """Shows what the run will do above the jobs."""
        self._lines += lines

    def planned(self, shares: Mapping[Job, float]) -> None:
        """Receives the jobs and their shares of the work."""
        self._shares = shares
        self._redraw()

    def started(self, job: Job) -> None:
        """Adds the job to the running jobs."""
        self._running[job] = ""
        self._redraw()

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        """Shows the stage of the job and the percentage that is done."""
        self._running[job] = f"{stage} {100 * done / max(total, 1e-9):.0f} %"
        if self.clock() - self._drawn > REDRAW_SECONDS:
            self._redraw()

    def note(self, job: Job, text: str) -> None:
        """Adds a remark on a job."""
        self._lines.append(f"{job}: {text}")
        self._redraw()

    def ended(self, ended: Ended) -> None:
        """Moves the job from the running jobs to those that ended."""
        self._running.pop(ended.job, None)
        self._finished += self._shares.get(ended.job, 0.0)
        self._lines.append(_line(ended))
        self._redraw()

    def _redraw(self) -> None:
        self._drawn = self.clock()
        total = sum(self._shares.values())
        bar = f'<progress value="{self._finished:.0f}" max="{total:.0f}"></progress>' if self._finished < total else ""
        running = [f"{job} · {stage}" if stage else f"{job}" for job, stage in self._running.items()]
        self.draw("<br>".join([bar, *map(text, [*running, *self._lines])]))


def _line(ended: Ended) -> str:
    """Returns a line such as `apc · ks: accuracy 79.9`, or with the message of a job without a result."""
    result: Any = ended.result
    if result is None:
        return f"{ended.job}: {ended.state}. {ended.message}"
    earlier = " (earlier result)" if ended.state == "found" else ""
    return f"{ended.job}: {result.primary} {result.scores[result.primary].value:.4g}{earlier}"
