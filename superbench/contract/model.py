"""The contract of an upstream: its features, the methods for pretraining and generation, and the tolerances of the checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Features:
    """Hidden states of a batch: `frames` (layer, batch, time, dim); `lengths` (batch) counts the frames without padding."""

    frames: Tensor
    lengths: Tensor


@runtime_checkable
class Upstream(Protocol):
    """A frozen speech model. It is usually an `nn.Module`; then the engine moves it to the device and sets eval mode.

    `waves` (batch, samples) at `sample_rate` Hz is zero-padded; `lengths` (batch) counts the samples without padding. Features
    of an utterance must not depend on the other items in the batch. Frame t is aligned with sample `t * hop`. A class may
    declare `revision`, a digest of weights, configuration and source; for an `nn.Module` without it, the engine computes one.
    It may declare `training_datasets`, the names of the data that its weights were trained on (`()`: none), which boards show.
    """

    sample_rate: int
    hop: int
    layers: int
    dim: int

    def __call__(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch."""


@runtime_checkable
class Pretrainable(Protocol):
    """An upstream class that `superbench pretrain` can train.

    `configs` maps a size (`mini`, `base`) to a frozen dataclass of plain values; the class is called with one of them. `loss`
    takes the same arguments as the model itself and returns a scalar; it is called in training mode. `pretraining` maps a
    size to its schedule. A model that needs sound, or a teacher, before its first update implements `Prepared`.
    """

    configs: Mapping[str, Any]
    pretraining: Mapping[str, Pretraining]

    def __call__(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch."""

    def loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Returns the scalar that pretraining minimizes."""


@dataclass(frozen=True, slots=True)
class Pretraining:
    """A pretraining schedule: the learning rate warms up, then decays. A batch has `batch` crops of `seconds` each; with
    `whole_utterances`, complete utterances of `batch · seconds` in all (see training/pretraining/unlabelled.py)."""

    steps: int
    batch: int
    seconds: float
    learning_rate: float
    warmup: float = 0.07
    clip: float = 5.0
    weight_decay: float = 0.01
    whole_utterances: bool = False


@runtime_checkable
class Prepared(Protocol):
    """A `Pretrainable` that reads training sound, and perhaps uses a teacher, before its first update.

    `prepare` is called once at the start of every `superbench pretrain`; `seed` determines all random numbers that it draws.
    `waves` (samples,) are complete training files, up to `prepare_seconds` in all. The model keeps its results in buffers,
    which are saved in the checkpoint and loaded from it when an interrupted training is resumed. `teacher` is the model that
    `--teacher` names, frozen, or None; it must not become a submodule, else the checkpoint would contain its weights too. A
    model whose buffers change their shape records this in its `config`, from which a checkpoint is rebuilt. A submodule
    called `scaffold` is used for pretraining only: the files for resuming contain it, the published checkpoint does not.
    """

    prepare_seconds: float

    def prepare(self, waves: Sequence[Tensor], seed: int, teacher: Upstream | None) -> None:
        """Computes buffers from training sound and, if it is given, from the teacher."""
        ...


@runtime_checkable
class Following(Protocol):
    """A `Pretrainable` with a part that is computed from its weights, such as the moving average of BYOL.

    `after_update` is called after every step of the optimizer. It must be deterministic, and it must keep its state in
    parameters or buffers, so that an interrupted training is resumed exactly.
    """

    def after_update(self) -> None:
        """Updates the dependent part after an optimizer step."""
        ...


@runtime_checkable
class Generative(Protocol):
    """An upstream that can continue sound."""

    def generate(
        self, prompt: Tensor, seconds: float, temperature: float, advance: Callable[[int, int], None]
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Returns the prompt (samples,) followed by `seconds` of its continuation, and numbers that describe it.

        Random draws come from torch's generator; a low temperature prefers the most likely values. `advance(done, total)`
        reports progress.
        """
        ...


LARGEST_HALF = 65504.0
TOLERATED_FRAMES = 5
"""The frame count of a model must differ from round(samples / hop) by less than this (protocol.md 1.3)."""


@runtime_checkable
class Echoing(Protocol):
    """A `Pretrainable` that can also be pretrained on echo episodes (`superbench pretrain --echo`): sequences without labels in
    which every second sound is another view of the one before it."""

    def echo_loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Returns the scalar that pretraining minimizes: the loss of episodes that are made of this batch. All random numbers
        are drawn from torch's generator, which is seeded for every update."""
        ...
