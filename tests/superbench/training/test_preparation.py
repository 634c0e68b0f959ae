"""A model with `prepare` receives training audio before its first update: the requested length, determined by the seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from superbench.contract import Upstream
from superbench.training.pretraining.learner import prepare

FILES = [Path(str(i)) for i in range(10)]


class Listener:
    """A model that stores the waveforms that it received, and one random number."""

    prepare_seconds = 2.5

    def prepare(self, waves: Sequence[Tensor], seed: int, teacher: Upstream | None) -> None:
        self.waves, self.seed, self.teacher, self.draw = [*waves], seed, teacher, float(torch.rand(()))


def wave_of(file: Path) -> Tensor:
    return torch.full((16_000,), float(str(file)))


def shown(seed: int) -> Listener:
    listener = Listener()
    prepare(listener, FILES, wave_of, seed, None)
    return listener


def test_whole_files_come_until_the_time_is_full() -> None:
    assert [len(wave) for wave in shown(0).waves] == [16_000, 16_000, 8_000]


def test_the_seed_chooses_the_files_and_the_draws() -> None:
    one, again, others = shown(3), shown(3), [shown(seed) for seed in range(4, 8)]
    assert [float(wave[0]) for wave in one.waves] == [float(wave[0]) for wave in again.waves]
    assert one.draw == again.draw
    assert any([float(wave[0]) for wave in one.waves] != [float(wave[0]) for wave in other.waves] for other in others)
    assert all(one.draw != other.draw for other in others)


def test_a_model_that_asks_for_nothing_hears_nothing() -> None:
    prepare(torch.nn.Linear(1, 1), FILES, lambda file: 1 / 0, 0, None)  # type: ignore[arg-type, return-value]
