"""One plain loop that trains anything: a sweep of probes side by side, or an upstream in pretraining.

A `Learner` takes a step when told its number; data order and dropout derive from that number alone, so a loop that
was killed and goes on from its checkpoint ends with the same weights as one that was not.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from superbench.errors import DamagedFile
from superbench.system.files import load_sealed, save_sealed
from superbench.system.progress import Reporter


class Learner(Protocol):
    """Something with weights and an optimizer."""

    def step(self, number: int) -> float:
        """Make update `number` (from 0) and return a loss for the progress line."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Everything that a later `restore` needs: weights, optimizer moments, best-so-far."""
        ...

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        ...


def fit(
    learner: Learner,
    *,
    steps: int,
    evaluate_every: int,
    evaluate: Callable[[int], None],
    log: list[object],
    checkpoint: Path,
    identity: str,
    checkpoint_every: int,
    reporter: Reporter,
    stage: str = "train",
    checkpoint_seconds: float = math.inf,
    updated: Callable[[int, float], None] | None = None,
) -> None:
    """Take `steps` updates; call `evaluate(n)` after each `evaluate_every` of them and after the last.

    `evaluate` may write into `log` (JSON values) and into the learner. Every `checkpoint_every` updates, learner and log go to
    `checkpoint`, atomically, and besides whenever the last time was `checkpoint_seconds` ago; a checkpoint of the same
    `identity` found at the start is continued from, another is ignored, as is a damaged one, which is said. `updated(n, loss)`
    hears of every update.
    """
    start = _resume(learner, log, checkpoint, identity, reporter)
    saved = time.monotonic()
    for number in range(start, steps):
        loss = learner.step(number)
        done = number + 1
        if updated is not None:
            updated(done, loss)
        if done % evaluate_every == 0 or done == steps:
            evaluate(done)
        if done % checkpoint_every == 0 or done == steps or time.monotonic() - saved > checkpoint_seconds:
            saved = time.monotonic()
            save_sealed(checkpoint, learner.state(), {"identity": identity, "step": str(done), "log": json.dumps(log)})
        reporter.advance(stage, done, steps)


def _resume(learner: Learner, log: list[object], checkpoint: Path, identity: str, reporter: Reporter) -> int:
    if not checkpoint.is_file():
        return 0
    try:
        tensors, facts = load_sealed(checkpoint)
    except DamagedFile as error:
        reporter.note(f"{error} Training begins again from its first update")
        return 0
    if facts.get("identity") != identity:
        return 0
    learner.restore(tensors)
    log[:] = json.loads(facts["log"])
    return int(facts["step"])


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Inside, this thread takes numbers nearer to zero than 1.2e-38 for zero.

    The gradients of a head that is sure are full of such numbers, and a processor is a hundred times slower with them.
    """
    before = float(torch.tensor(1e-40)) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
