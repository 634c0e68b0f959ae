"""Sends learning curves to an experiment tracker: TensorBoard, Weights & Biases, or Trackio.

A tracker only watches: it changes no result, and training continues if it fails. Without an account everything stays on this
machine: wandb runs offline unless `WANDB_MODE` says otherwise (`wandb sync` uploads later), Trackio keeps a local database.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from superbench.errors import CommandError, MissingExtra
from superbench.system.progress import Reporter

TRACKERS = ("tensorboard", "wandb", "trackio")
PROJECT = "superbench"


class Tracker(Protocol):
    """Receives values during a training."""

    def log(self, step: int, values: Mapping[str, float | None]) -> None:
        """Receives values by name after update `step`; None or NaN is no value."""


class NoTracker:
    """A tracker that ignores all values."""

    def log(self, step: int, values: Mapping[str, float | None]) -> None:
        """Does nothing."""


NOTHING_TRACKED = NoTracker()


def require_tracker(name: str | None) -> None:
    """Raises `CommandError` for an unknown tracker, `MissingExtra` for one that is not installed; None is no tracker."""
    if name is None:
        return
    if name not in TRACKERS:
        raise CommandError(f"--track {name!r}: expected one of {', '.join(TRACKERS)}.")
    if importlib.util.find_spec(name) is None:
        raise MissingExtra(f"--track {name}", name, "track")


@contextlib.contextmanager
def tracking(name: str | None, run: str, folder: Path, facts: Mapping[str, Any], reporter: Reporter) -> Iterator[Tracker]:
    """Opens a run called `run`, with `facts` as its configuration, and closes it at the end of the block.

    TensorBoard writes to `folder`, as do wandb's offline files. If the tracker fails, a note says so once, and the rest is not
    tracked.
    """
    if name is None:
        yield NOTHING_TRACKED
        return
    tracker = _Guarded(name, run, folder, dict(facts), reporter)
    try:
        yield tracker
    finally:
        tracker.close()


class _Guarded:
    """Opens a tracker with its first value, and stops tracking if it fails."""

    def __init__(self, name: str, run: str, folder: Path, facts: dict[str, Any], reporter: Reporter) -> None:
        self.name, self.run, self.folder, self.facts, self.reporter = name, run, folder, facts, reporter
        self._inner: Any = None
        self._failed = False

    def log(self, step: int, values: Mapping[str, float | None]) -> None:
        known = {key: float(value) for key, value in values.items() if value is not None and math.isfinite(value)}
        if known:
            self._try(lambda: self._opened(step).log(step, known))

    def close(self) -> None:
        if self._inner is not None:
            self._try(self._inner.close)

    def _opened(self, step: int) -> Any:
        if self._inner is None:
            kinds = {"tensorboard": _TensorBoard, "wandb": _Wandb, "trackio": _Trackio}
            self._inner = kinds[self.name](self, step)
        return self._inner

    def _try(self, action: Any) -> None:
        if self._failed:
            return
        try:
            action()
        except Exception as error:  # a tracker must not end a training of days
            self._failed = True
            self.reporter.note(f"{self.name} failed ({type(error).__name__}: {error!s:.200}); the rest is not tracked")


class _TensorBoard:
    """Event files in the folder; a run that continues replaces the events of the updates that it repeats."""

    def __init__(self, of: _Guarded, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(of.folder), purge_step=step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class _Wandb:
    """A run of wandb, offline unless the environment says otherwise."""

    def __init__(self, of: _Guarded, step: int) -> None:
        import wandb

        of.folder.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE", "offline")
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self.run = wandb.init(project=project, name=of.run, dir=str(of.folder), config=of.facts, mode=mode, reinit="create_new")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


class _Trackio:
    """A run of Trackio in its local database (`trackio show`)."""

    def __init__(self, of: _Guarded, step: int) -> None:
        import trackio

        self.module = trackio
        trackio.init(project=os.environ.get("TRACKIO_PROJECT", PROJECT), name=of.run, config=of.facts)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.module.log(dict(values), step=step)

    def close(self) -> None:
        self.module.finish()
