"""A model in pretraining: AdamW with linear warm-up and decay, gradients in parts, half precision where it pays."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from superbench.contract import SAMPLE_RATE, Following, Precision, Prepared, Pretraining, Upstream
from superbench.errors import BadUpstream
from superbench.system.seeding import seeded
from superbench.training.pretraining.unlabelled import Unlabelled

HELD_OUT_BATCH = 16


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How a schedule is carried out here. An update's batch passes the model in `accumulate` parts."""

    steps: int
    seed: int
    device: str
    precision: Precision = "float32"
    accumulate: int = 1


class Learner:
    """The `Learner` of `probing.training.fit` for upstreams. Weights and moments stay float32 in either precision."""

    def __init__(
        self, model: nn.Module, sound: Unlabelled, plan: Pretraining, way: TrainingOptions, teacher: Upstream | None
    ) -> None:
        self.model, self.sound, self.plan, self.way = model.to(way.device), sound, plan, way
        files = [one.path for one in sound.training]
        prepare(model, files, lambda file: sound.wave(file).to(way.device), way.seed, teacher)  # may add weights: comes first
        self.model.to(way.device)
        self._trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self._trained, lr=plan.learning_rate, weight_decay=plan.weight_decay)
        self.losses: list[float] = []
        self._decoder = ThreadPoolExecutor(1, "decoder")
        self._next: tuple[int, Future[list[np.ndarray]]] | None = None

    def step(self, number: int) -> float:
        """One update."""
        waves = self._waves(number)
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(number)
        self.optimizer.zero_grad(set_to_none=True)
        parts = np.array_split(np.arange(len(waves)), min(self.way.accumulate, len(waves)))
        total = 0.0
        for part, members in enumerate(parts):
            with seeded(self.way.seed, number, *([part] if part else [])), self._autocast():
                loss = self.model.loss(*self._batch([waves[i] for i in members]))  # type: ignore[operator]
            share = len(members) / len(waves)
            (loss if share == 1 else loss * share).backward()
            total += float(loss.detach()) * share
        if not math.isfinite(total):
            raise BadUpstream(
                f"The loss became {total} at update {number + 1} of {self.way.steps}; what was learnt before is kept in the "
                "last resume file. A smaller learning_rate in the model's schedule, or --precision float32, usually helps."
            )
        nn.utils.clip_grad_norm_(self._trained, self.plan.clip)
        self.optimizer.step()
        if isinstance(self.model, Following):
            self.model.after_update()
        self.losses.append(total)
        return total

    def rate(self, number: int) -> float:
        """Learning rate of update `number`: linear warm-up, then linear decay to zero."""
        steps = self.way.steps
        warm = max(round(self.plan.warmup * steps), 1)
        return self.plan.learning_rate * min((number + 1) / warm, (steps - number) / max(steps - warm, 1))

    def recent(self) -> float:
        """Mean loss of the last updates."""
        last = self.losses[-50:]
        return round(sum(last) / len(last), 4) if last else 0.0

    @torch.no_grad()
    def held_out(self) -> float:
        """Loss on the files that are never trained on, masks drawn always alike."""
        self.model.eval()
        losses = []
        for number, waves in enumerate(self.sound.held_out(HELD_OUT_BATCH)):
            with seeded(self.way.seed, number * HELD_OUT_BATCH, 99), self._autocast():
                losses.append(float(self.model.loss(*self._batch(waves))))  # type: ignore[operator]
        return round(sum(losses) / len(losses), 4)

    def state(self) -> dict[str, Tensor]:
        """Weights, moments, recent losses."""
        state = {f"model/{key}": value.clone() for key, value in self.model.state_dict().items()}
        state["losses"] = torch.tensor(self.losses[-50:], dtype=torch.float64)
        for slot, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"adam/{slot}/{key}": torch.as_tensor(value).clone() for key, value in moments.items()}
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self.model.load_state_dict({key[6:]: value for key, value in state.items() if key.startswith("model/")})
        self.losses = state["losses"].tolist()
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith("adam/"):
                _, slot, name = key.split("/")
                slots.setdefault(int(slot), {})[name] = value
        self.optimizer.load_state_dict({"state": slots, "param_groups": self.optimizer.state_dict()["param_groups"]})

    def close(self) -> None:
        """Let the decoding thread go."""
        self._decoder.shutdown(cancel_futures=True)

    def _waves(self, number: int) -> list[np.ndarray]:
        """The waves of this update, and a thread that decodes those of the next."""
        waves = self._next[1].result() if self._next and self._next[0] == number else self.sound.batch(number)
        self._next = None
        if number + 1 < self.way.steps:
            self._next = (number + 1, self._decoder.submit(self.sound.batch, number + 1))
        return waves

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        kind = torch.device(self.way.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.way.precision == "bfloat16")

    def _batch(self, waves: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        tensors = [torch.from_numpy(wave.astype(np.float32) / 32767) for wave in waves]
        lengths = torch.tensor([len(one) for one in tensors])
        return pad_sequence(tensors, batch_first=True).to(self.way.device), lengths.to(self.way.device)


@contextlib.contextmanager
def repeatable(device: str) -> Iterator[None]:
    """On a GPU, algorithms that give the same sums twice, where there are any; a CPU has no others."""
    if device == "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


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
