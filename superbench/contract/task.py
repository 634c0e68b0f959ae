"""The contract of a task: its card, recipes, head, selection and upload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from superbench.contract.few_shot import FewShot
from superbench.contract.items import Fold, Split
from superbench.contract.predictions import Outputs, Prediction, Score, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from superbench.contract.corpora import Corpora
    from superbench.contract.sizes import Size


Protocols = Literal["superb", "superb-once", "mini", "custom", "few-shot", "in-context"]
"""Names for `--protocol`. The first four train heads; the others train nothing (see `few_shot`). `custom` is the only recipe of
a task on a person's own corpus; it is used for such a task whatever the protocol of the run is."""
CUSTOM: Protocols = "custom"
UNTRAINED: frozenset[Protocols] = frozenset({"few-shot", "in-context"})
"""Protocols without a gradient. Their results lie in a subfolder of this name, and they are ranked on their own."""
Reduction = Literal["mean", "frames"]


@runtime_checkable
class Head(Protocol):
    """The trainable part of a probe after the layer mix; an `nn.Module`.

    Heads of `mean` tasks get `features` (batch, dim), averaged over the frames of an utterance without padding. They draw no
    random numbers, and they may also be `Stacked`. Heads of `frames` tasks get (batch, time, dim), zero-padded, and `lengths`
    (batch). A head may have `decode_also(outputs, lengths)`, which returns for each item a mapping from the names of other
    decoders to their outputs. It is called once, with the chosen weights on test, for `Prediction.also`.
    """

    def encode(self, label: Any) -> Tensor:
        """Returns the target for `loss`; in `mean` tasks it has the same shape for every item."""

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Returns the outputs, batch first."""

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """Returns a scalar. `mean` tasks get `targets` as one stacked tensor (batch, ...)."""

    def decode(self, outputs: Tensor, lengths: Tensor) -> list[Any]:
        """Returns one plain value per item: the prediction, or the input of the task's `Selection`."""


@runtime_checkable
class Stacked(Protocol):
    """A head of a `mean` task that can compute several heads of its class in one call. It is called once for all probes of a
    sweep, other heads once for each probe. The trained weights are the same."""

    def stacked(self, weights: Mapping[str, Tensor], features: Tensor) -> Tensor:
        """Returns outputs (probe, batch, ...) for features (probe, batch, dim). `weights` maps the names of `named_parameters`
        to the stacked weights (probe, ...) of all heads."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns losses (probe, batch) for targets (batch, ...); their mean over micro-batches equals `loss`."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is trained under one protocol. `steps`, `evaluate_every` count updates (protocol.md 1.4).

    `sampler`: `shuffle` = a random permutation per epoch; `balanced` = classes drawn equally, with replacement; `windows` = N
    overlapping windows of neighbours in target length, longest first; `buckets` = consecutive groups in order of audio length,
    in shuffled order. `halve_above` (samples): a batch whose longest sound exceeds this is split into two halves. `options`
    are specific to the task (widths, crops, masks); `prepare` and `head` read them. `fresh_crops`: training crops are redrawn
    at each access, so their features cannot be cached. `variants`: the selected variants of the card.
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
    """A description of a task that is available before any sound is read.

    `reference_points`: (FBANK, SOTA) of a metric for the SUPERB score; `published`: its column in the published table;
    `layout`: the files that the reader expects; `obtain`: how to get them; `differences`: how other protocols change the
    recipe, on any corpus; `miniature`: the contents of the corpus that `synth` writes; `variants`: names for `--variant`, and
    what each of them changes in this task.

    For `superbench plan`: `sound` names the audio with its preprocessing (tasks with the same `sound` and the same reduction
    share stored features; empty: nothing is shared). `sizes` of the official corpus, by split (`train`, or `fold1/train`),
    with `all` for the distinct utterances if splits overlap; empty: not known. For `superbench data check`: published `counts`
    by split, class (`train/yes`), distinct groups (`train groups`) and trials (`test trials`, `test trials/1`), and the
    `sample_rate` (Hz) of the files; empty, None: not compared. `withheld`: the reason why test labels must not be published
    (`submit --without-references` leaves them out); empty: they may be published.

    For `--protocol in-context`: `question`, what is asked about a sound, in a sentence; `words` for classes whose label is none
    (of a label that is a record, its JSON text with sorted keys).

    `kind`: the name of the function that makes such tasks (entry points `superbench.kinds`), by which a board scores the
    results of a task that is not installed there; empty for other tasks.
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
    question: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    kind: str = ""

    @property
    def is_own(self) -> bool:
        """True if its only recipe is `custom`: it belongs to no published protocol."""
        return set(self.recipes) == {CUSTOM}


Candidates = Callable[[str, Split, Outputs, "Setting | None"], Iterable[tuple[Setting, list[Prediction]]]]
"""(fold name, split, outputs, one setting or None for all) -> each setting with its predictions."""


@dataclass(frozen=True, slots=True)
class Selection:
    """How checkpoints, learning rates and settings are chosen.

    `metric` is compared on dev: the name of one of the task's scores, or the value that `dev` computes. `candidates` turns
    outputs of a split into predictions, once for each setting. `on` is the split on which the setting is chosen: `test` only
    if the official protocol does so. `checkpoints`: the weights of every evaluation are candidates (ASV), under the name
    `step`.
    """

    metric: str
    higher_is_better: bool
    candidates: Candidates
    on: Literal["dev", "test"] = "dev"
    checkpoints: bool = False
    dev: Callable[[Split, Outputs], float] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A downstream task: six required parts and four optional ones.

    `read(corpora)` returns the folds of the corpus in its published layout; a listed file that is missing is an error.
    `prepare(split, hop, recipe)` cuts segments and labels that depend on the frame rate; most tasks return it unchanged.
    `head(dim, fold, recipe)` builds the trainable module; None if nothing is trained (QbE). `select` chooses the settings that
    are not learned. `score(predictions, facts)` is a pure function: counts first, then one ratio. `synth(root, seed)` writes
    the miniature corpus in the published layout. `upload(predictions, hop)`, if given, returns the files of this task for the
    upload to the official leaderboard (`superbench export --to predict`). `few_shot` tells how the task is put without a
    gradient; a classification task needs none, since its labels say enough. `predicts` is the type of a prediction as JSON
    (`str`, `float`, `dict[str, str]`), which a board requires before it scores; None: that of the references, if these are
    texts or numbers.
    """

    card: TaskCard
    read: Callable[[Corpora], tuple[Fold, ...]]
    prepare: Callable[[Split, int, Recipe], Split]
    head: Callable[[int, Fold, Recipe], nn.Module] | None
    select: Selection
    score: Callable[[Sequence[Prediction], Mapping[str, float]], dict[str, Score]]
    synth: Callable[[Path, int], None] | None = None
    upload: Callable[[Sequence[Prediction], int], Upload] | None = None
    few_shot: FewShot | None = None
    predicts: Any = None


@dataclass(frozen=True, slots=True)
class Upload:
    """Files for the official leaderboard. `files`: path below `predict/` -> content. `remarks`: notes, one sentence each."""

    files: Mapping[str, bytes]
    remarks: tuple[str, ...] = ()
