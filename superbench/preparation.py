"""What a model may ask for before its first update: a look at the training sound, and a teacher.

Units are fitted to sound that was heard (k-means), a student is built to the size of its teacher. Both are known only once
`superbench pretrain` runs.
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
    change their shape says so in its `config`, from which a checkpoint is rebuilt.
    """

    prepare_seconds: float

    def prepare(self, waves: Sequence[Tensor], seed: int, teacher: Upstream | None) -> None:
        """Look, and remember."""
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
