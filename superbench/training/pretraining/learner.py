"""Updates of a model in pretraining: AdamW, linear warm-up and decay, gradient accumulation, optional bfloat16."""

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
    """How a schedule is run. The batch of one update is split into `accumulate` parts (micro-batches). `echo`: minimize the
    loss of echo episodes."""

    steps: int
    seed: int
    device: str
    precision: Precision = "float32"
    accumulate: int = 1
    echo: bool = False


class Learner:
    """The `Learner` of `training.loop.fit` for upstreams. Weights and moments stay float32 in either precision."""

    def __init__(
        self, model: nn.Module, audio: Unlabelled, plan: Pretraining, options: TrainingOptions, teacher: Upstream | None
    ) -> None:
        self.model, self.audio, self.plan, self.options = model.to(options.device), audio, plan, options
        files = [recording.path for recording in audio.training]
        # `prepare` may add weights, so it comes before the optimizer
        prepare(model, files, lambda file: audio.wave(file).to(options.device), options.seed, teacher)
        self.model.to(options.device)
        self._trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self._trained, lr=plan.learning_rate, weight_decay=plan.weight_decay)
        self._loss: Callable[[Tensor, Tensor], Tensor] = getattr(model, "echo_loss" if options.echo else "loss")
        self.losses: list[float] = []
        self._decoder = ThreadPoolExecutor(1, "decoder")
        self._next: tuple[int, Future[list[np.ndarray]]] | None = None

    def step(self, number: int) -> float:
        """Make update `number` and return its loss; raises `BadUpstream` if the loss is not finite."""
        waves = self._waves(number)
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(number)
        self.optimizer.zero_grad(set_to_none=True)
        parts = np.array_split(np.arange(len(waves)), min(self.options.accumulate, len(waves)))
        total = 0.0
        for part, members in enumerate(parts):
            with seeded(self.options.seed, number, *([part] if part else [])), self._autocast():
                loss = self._loss(*self._batch([waves[i] for i in members]))
            share = len(members) / len(waves)
            (loss if share == 1 else loss * share).backward()
            total += float(loss.detach()) * share
        if not math.isfinite(total):
            raise BadUpstream(
                f"The loss became {total} at update {number + 1} of {self.options.steps}. The last resume file contains the "
                "weights of an earlier update. A smaller learning_rate in the model's schedule, or --precision float32, "
                "usually helps."
            )
        nn.utils.clip_grad_norm_(self._trained, self.plan.clip)
        self.optimizer.step()
        if isinstance(self.model, Following):
            self.model.after_update()
        self.losses.append(total)
        return total

    def rate(self, number: int) -> float:
        """Return the learning rate of update `number`: linear warm-up, then linear decay to zero."""
        steps = self.options.steps
        warm = max(round(self.plan.warmup * steps), 1)
        return self.plan.learning_rate * min((number + 1) / warm, (steps - number) / max(steps - warm, 1))

    def recent(self) -> float:
        """Return the mean loss of the last 50 updates."""
        last = self.losses[-50:]
        return round(sum(last) / len(last), 4) if last else 0.0

    @torch.no_grad()
    def held_out(self) -> float:
        """Return the mean loss on the held-out files; the masks are the same at every call."""
        self.model.eval()
        losses = []
        for number, waves in enumerate(self.audio.held_out(HELD_OUT_BATCH)):
            with seeded(self.options.seed, number * HELD_OUT_BATCH, 99), self._autocast():
                losses.append(float(self._loss(*self._batch(waves))))
        return round(sum(losses) / len(losses), 4)

    def state(self) -> dict[str, Tensor]:
        """Return weights, optimizer moments and recent losses."""
        state = {f"model/{key}": value.clone() for key, value in self.model.state_dict().items()}
        state["losses"] = torch.tensor(self.losses[-50:], dtype=torch.float64)
        for slot, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"adam/{slot}/{key}": torch.as_tensor(value).clone() for key, value in moments.items()}
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Load a state that `state` returned."""
        self.model.load_state_dict({key[6:]: value for key, value in state.items() if key.startswith("model/")})
        self.losses = state["losses"].tolist()
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith("adam/"):
                _, slot, name = key.split("/")
                slots.setdefault(int(slot), {})[name] = value
        self.optimizer.load_state_dict({"state": slots, "param_groups": self.optimizer.state_dict()["param_groups"]})

    def close(self) -> None:
        """Stop the decoding thread."""
        self._decoder.shutdown(cancel_futures=True)

    def _waves(self, number: int) -> list[np.ndarray]:
        """Return the waveforms of this update; a thread starts to decode those of the next one."""
        waves = self._next[1].result() if self._next and self._next[0] == number else self.audio.batch(number)
        self._next = None
        if number + 1 < self.options.steps:
            self._next = (number + 1, self._decoder.submit(self.audio.batch, number + 1))
        return waves

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        device_type = torch.device(self.options.device).type
        return torch.autocast(device_type, torch.bfloat16, enabled=self.options.precision == "bfloat16")

    def _batch(self, waves: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        tensors = [torch.from_numpy(wave.astype(np.float32) / 32767) for wave in waves]
        lengths = torch.tensor([len(wave) for wave in tensors])
        return pad_sequence(tensors, batch_first=True).to(self.options.device), lengths.to(self.options.device)


@contextlib.contextmanager
def repeatable(device: str) -> Iterator[None]:
    """Within the context, a GPU uses deterministic algorithms where torch has them. A CPU needs no such setting."""
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
    """Call `model.prepare` on waveforms of files drawn with `seed`; do nothing if the model has no such method."""
    if not isinstance(model, Prepared):
        return
    waves: list[Tensor] = []
    samples_left = round(model.prepare_seconds * SAMPLE_RATE)
    for index in np.random.default_rng([seed, len(files), 7]).permutation(len(files)):
        if samples_left <= 0:
            break
        waves.append(wave_of(files[index])[:samples_left])
        samples_left -= len(waves[-1])
    with seeded(seed, 7), torch.no_grad():
        model.prepare(waves, seed, teacher)
