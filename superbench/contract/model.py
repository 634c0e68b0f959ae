"""What an upstream is: its features, what pretraining and generation ask of it, and the tolerances that hold for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Features:
    """Hidden states of a batch: `frames` (layer, batch, time, dim), `lengths` (batch) in frames without padding."""

    frames: Tensor
    lengths: Tensor


@runtime_checkable
class Upstream(Protocol):
    """A frozen speech model. Usually an `nn.Module`; then the engine moves it to the device and puts it in eval mode.

    `waves` (batch, samples) is zero-padded, `lengths` (batch) says how many samples are real. Features of an utterance must not
    depend on the others in the batch. Frame t is aligned with sample `t * hop`. `revision`, when a class declares it, is a
    digest of weights, configuration and source; the engine computes it for any `nn.Module` that does not.
    """

    sample_rate: int
    hop: int
    layers: int
    dim: int

    def __call__(self, waves: Tensor, lengths: Tensor) -> Features:
        """Hidden states of a batch."""


@runtime_checkable
class Pretrainable(Protocol):
    """An upstream class that `superbench pretrain` can train.

    `configs` maps a size (`mini`, `base`) to a frozen dataclass of plain values; the class is called with one of them. `loss`
    takes the same arguments as the model itself and returns a scalar; it is called in training mode. `pretraining` maps a
    size to its schedule. A model that must see sound, or a teacher, before its first update: `Prepared`.
    """

    configs: Mapping[str, Any]
    pretraining: Mapping[str, Pretraining]

    def __call__(self, waves: Tensor, lengths: Tensor) -> Features:
        """Hidden states of a batch."""

    def loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """What pretraining makes small."""


@dataclass(frozen=True, slots=True)
class Pretraining:
    """Warm-up, decay; `batch` crops of `seconds`, or `whole_utterances` that fill `batch · seconds`
    (training/pretraining/unlabelled.py)."""

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


@runtime_checkable
class Generative(Protocol):
    """An upstream that can continue sound."""

    def generate(
        self, prompt: Tensor, seconds: float, temperature: float, advance: Callable[[int, int], None]
    ) -> tuple[Tensor, Mapping[str, float]]:
        """The prompt (samples,) followed by `seconds` of its continuation, and facts worth telling.

        Draws come from torch's generator: low temperatures keep to what is likeliest. `advance(done, total)` moves a bar.
        """
        ...


LARGEST_HALF = 65504.0
TOLERATED_FRAMES = 5
"""How far a model's frames may be from round(samples / hop) (protocol.md 1.3)."""
