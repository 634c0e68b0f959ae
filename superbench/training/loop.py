"""The training loop: it trains a sweep of probes in parallel, or one upstream in pretraining.

A `Learner` makes update number n. Data order and dropout depend on n alone, so a loop that was killed and resumed from its
checkpoint ends with the same weights as a loop that ran without interruption.
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
    """An object with weights and an optimizer that `fit` can train."""

    def step(self, number: int) -> float:
        """Make update `number` (from 0) and return its loss."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return everything that `restore` needs: weights, optimizer moments, the best weights so far."""
        ...

    def restore(self, state: dict[str, Tensor]) -> None:
        """Load a state that `state` returned."""
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
    """Make `steps` updates; call `evaluate(n)` after every `evaluate_every` updates and after the last one.

    `evaluate` may write into `log` (JSON values) and change the learner. Learner and log are saved to `checkpoint`, atomically,
    every `checkpoint_every` updates, and also when `checkpoint_seconds` have passed since the last save. Training resumes from
    an existing checkpoint of the same `identity`. A checkpoint of another identity is ignored; a damaged one is ignored with
    a note. `updated(n, loss)` is called after every update.
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
        reporter.note(f"{error} Training starts again from the first update")
        return 0
    if facts.get("identity") != identity:
        return 0
    learner.restore(tensors)
    log[:] = json.loads(facts["log"])
    return int(facts["step"])


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Within the context, this thread treats numbers below 1.2e-38 in absolute value (denormals) as zero.

    The gradients of a confident head contain many denormals, and a CPU computes a hundred times slower with them.
    """
    before = float(torch.tensor(1e-40)) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
