"""What a model may ask of `superbench pretrain`: a look at the training sound and at a teacher, a word after each update.

Units are fitted to sound that was heard (k-means), a student is built to the size of its teacher; both are known only once
`superbench pretrain` runs. What only pretraining needs (a projection head, a moving average) is the model's scaffold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Upstream
from superbench.probing.training import seeded


@runtime_checkable
class Prepared(Protocol):
    """A `Pretrainable` that looks at its training sound before its first update, and perhaps at a teacher.

    `prepare` is called once at the start of every `superbench pretrain`, in a stream of random numbers that `seed` determines.
    `waves` (samples,) are whole training files of up to `prepare_seconds` in all. What it finds belongs into buffers: they go
    into the checkpoint, and training that goes on after a kill takes them from there. `teacher` is what `--teacher` names,
    frozen, or None; it must not become a submodule, else its weights would go into the checkpoint too. A model whose buffers
    change their shape says so in its `config`, from which a checkpoint is rebuilt. A submodule called `scaffold` is for
    pretraining alone: it goes into the files from which training is resumed, and not into the published checkpoint.
    """

    prepare_seconds: float

    def prepare(self, waves: Sequence[Tensor], seed: int, teacher: Upstream | None) -> None:
        """Look, and remember."""
        ...


@runtime_checkable
class Following(Protocol):
    """A `Pretrainable` with a part that follows its weights: the moving average of BYOL.

    `after_update` is called after every step of the optimizer. It must be deterministic, and keep what it knows in
    parameters or buffers, so that training that was killed goes on exactly.
    """

    def after_update(self) -> None:
        """Follow."""
        ...


def prepare(model: Any, files: Sequence[Path], wave_of: Callable[[Path], Tensor], seed: int, teacher: Upstream | None) -> None:
    """Let a model that has `prepare` look at files drawn by `seed`; nothing happens to one that has not."""
    if not isinstance(model, Prepared):
        return
    waves: list[Tensor] = []
    room = round(model.prepare_seconds * SAMPLE_RATE)
    for index in np.random.default_rng([seed, len(files), 7]).permutation(len(files)):
        if room <= 0:
            break
        waves.append(wave_of(files[index])[:room])
        room -= len(waves[-1])
    with seeded(seed, 7), torch.no_grad():
        model.prepare(waves, seed, teacher)
