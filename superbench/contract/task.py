"""What a task is: its card, its recipes, its head, what is chosen without learning, its upload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from superbench.contract.items import Fold, Split
from superbench.contract.predictions import Outputs, Prediction, Score, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from superbench.contract.corpora import Corpora
    from superbench.contract.sizes import Size


Protocols = Literal["superb", "superb-once", "mini"]
Reduction = Literal["mean", "frames"]


@runtime_checkable
class Head(Protocol):
    """The trainable part of a probe after the layer mix; an `nn.Module`.

    Heads of `mean` tasks get `features` (batch, dim), the mean over an utterance's own frames, and draw nothing at random; they
    may be `Stacked` besides. Heads of `frames` tasks get (batch, time, dim) zero-padded, with `lengths` (batch). A head may
    have `decode_also(outputs, lengths)`: a mapping for each item, what other ways of decoding make of it, by name; asked
    once, of the chosen weights on test, for `Prediction.also`.
    """

    def encode(self, label: Any) -> Tensor:
        """The target that `loss` compares with; `mean` tasks: same shape for every item."""

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Outputs, batch first."""

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """A scalar. `mean` tasks get `targets` as one stacked tensor (batch, ...)."""

    def decode(self, outputs: Tensor, lengths: Tensor) -> list[Any]:
        """One plain value per item: the prediction itself, or what the task's `Selection` makes predictions of."""


@runtime_checkable
class Stacked(Protocol):
    """A head of a `mean` task that also says how several of its kind answer at once. Such a head is called once for a whole
    sweep, where others are called once for each probe; what is learnt is the same."""

    def stacked(self, weights: Mapping[str, Tensor], features: Tensor) -> Tensor:
        """Outputs (probe, batch, ...) for features (probe, batch, dim) of heads whose weights lie stacked, (probe, ...) each,
        under the names of `named_parameters`."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(probe, batch) for targets (batch, ...); over micro-batches, their mean is `loss`."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is trained under one protocol. `steps`, `evaluate_every` count updates (protocol.md 1.4).

    `sampler`: `shuffle` = a random permutation per epoch; `balanced` = classes drawn equally, with replacement; `windows` = N
    overlapping windows of neighbours in target length, longest first; `buckets` = consecutive groups in order of audio length,
    the groups shuffled. `halve_above` (samples): a batch whose longest sound exceeds it is cut in half. `options` belong to
    the task alone (widths, crops, masks) and reach `prepare` and `head`. `fresh_crops`: training sound is cut anew at
    every access, so that its features cannot be stored. `variants`: those of the card that were asked for.
    """

    steps: int
    batch: int
    evaluate_every: int
    learning_rates: tuple[float, ...]
    accumulate: int = 1
    optimizer: Literal["adam", "adamw"] = "adam"
    clip: float = 1.0
    sampler: Literal["shuffle", "balanced", "windows", "buckets"] = "shuffle"
    halve_above: int | None = None
    drop_last: bool = False
    evaluate_batch: int = 32
    fresh_crops: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskCard:
    """What a person must know of a task before any sound is read.

    `reference_points`: (FBANK, SOTA) of a metric for the SUPERB score; `published`: its column in the published table;
    `layout`: the files that the reader looks for; `obtain`: how to get them; `differences`: what other protocols change of the
    recipe, whatever they are run on; `miniature`: what the corpus holds that `synth` writes;
    `variants`: what each name does that `--variant` takes, to this task alone.

    For `superbench plan`: `sound` names the audio with its preprocessing (tasks of the same `sound` that read the same
    reduction share stored features; empty: with nobody). `sizes` of the official corpus, by split (`train`, or `fold1/train`),
    with `all` for its different utterances where splits overlap; empty: not known. For `superbench data check`: `counts` as
    published, by split, class (`train/yes`), different groups (`train groups`), trials (`test trials`, `test trials/1`), and
    the `sample_rate` (Hz) of the files; empty, None: not compared.
    `withheld` says why test labels may not be handed on (`submit --without-references` leaves them out; empty: they may).
    """

    name: str
    title: str
    version: int
    domain: Literal["content", "speaker", "semantics", "emotion"]
    corpus: str
    licence: str
    paper: str
    obtain: str
    layout: str
    primary: str
    reads: Reduction
    recipes: Mapping[str, Recipe]
    reference_points: Mapping[str, tuple[float, float]]
    published: Mapping[str, str]
    differences: Mapping[str, str]
    sound: str = ""
    sizes: Mapping[str, Size] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    sample_rate: int | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    withheld: str = ""
    miniature: str = ""


Candidates = Callable[[str, Split, Outputs, "Setting | None"], Iterable[tuple[Setting, list[Prediction]]]]
"""(fold name, split, outputs, only this setting or None) -> each setting with its predictions."""


@dataclass(frozen=True, slots=True)
class Selection:
    """How checkpoints, learning rates and settings are chosen.

    `metric` is the number by which dev is judged: a name among the task's scores, or what `dev` computes. `candidates` turns
    outputs of a split into predictions, once per setting that can be chosen without learning. `on` says where a setting is
    chosen: `test` only where the official protocol does so. `checkpoints`: every evaluation's weights are a candidate (ASV),
    named `step`.
    """

    metric: str
    higher_is_better: bool
    candidates: Candidates
    on: Literal["dev", "test"] = "dev"
    checkpoints: bool = False
    dev: Callable[[Split, Outputs], float] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A downstream task: seven parts, and one that is optional.

    `read(corpora)` yields the folds of the corpus, in the true layout; a listed file that is missing is an error.
    `prepare(split, hop, recipe)` cuts segments and labels that depend on the frame rate; most tasks return the split.
    `head(dim, fold, recipe)` builds the trainable module, or the part is None (QbE trains nothing). `select` chooses what
    is not learned. `score(predictions, facts)` is pure: counts first, then one ratio. `synth(root, seed)` writes the
    miniature corpus in the true layout. `upload(predictions, hop)`, if any, is the task's part of the upload that the official
    leaderboard takes (`superbench export --to predict`).
    """

    card: TaskCard
    read: Callable[[Corpora], tuple[Fold, ...]]
    prepare: Callable[[Split, int, Recipe], Split]
    head: Callable[[int, Fold, Recipe], nn.Module] | None
    select: Selection
    score: Callable[[Sequence[Prediction], Mapping[str, float]], dict[str, Score]]
    synth: Callable[[Path, int], None]
    upload: Callable[[Sequence[Prediction], int], Upload] | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """`files`: path below `predict/` -> content. `remarks`: what the files cannot say, one sentence each."""

    files: Mapping[str, bytes]
    remarks: tuple[str, ...] = ()
