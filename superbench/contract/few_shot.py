"""Evaluation without a gradient: how a task is put to a frozen model with a few examples, and how examples become an answer.

Nothing is trained. Examples become class centroids, templates or clusters in feature space. After GPT-3 (Brown et al. 2020,
arXiv 2005.14165), K examples are called K shots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from superbench.contract.items import Fold, Item, Split
from superbench.contract.predictions import Prediction, Setting

if TYPE_CHECKING:
    from torch import Tensor

    from superbench.contract.corpora import Corpora

Shots = int | Literal["all"]
"""K, the number of examples; `all` uses every example of the training split."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One draw of K examples.

    The examples of one draw are nested: those of a smaller K are among those of a larger one. `draw` seeds their choice; the
    same draw gives the same examples for every model.
    """

    shots: Shots
    draw: int


class LayerFeatures(Protocol):
    """Features of one hidden state of a frozen model. `hop`: samples at 16 kHz per frame."""

    layer: int
    hop: int

    def means(self, items: Sequence[Item]) -> Tensor:
        """Returns the features averaged over time, (item, dim), float32."""

    def frames(self, item: Item) -> Tensor:
        """Returns the frames of one item, (time, dim), float32; only for tasks whose card reads `frames`."""


Answers = Iterable[tuple[Episode, Setting, list[Prediction]]]
"""The predictions for one split, for every episode under every setting."""
Answer = Callable[[Fold, Split, Sequence[Episode], Sequence[Setting], LayerFeatures], Answers]
"""(fold, the split to answer, episodes, settings, features) -> answers. It is called once for every hidden state."""


def no_files(corpora: Corpora) -> Mapping[str, Path]:
    """Returns no files."""
    return {}


def nothing_to_say(fold: Fold) -> Sequence[str]:
    """Returns no remarks."""
    return ()


def no_further(shots: Shots, chosen: Setting) -> tuple[Setting, ...]:
    """Returns no further settings."""
    return ()


@dataclass(frozen=True, slots=True)
class FewShot:
    """How a task is put without a gradient.

    `question`: what is asked about a sound, in words; `words`: the word for a class, where its label is none. `counted`: what K
    counts, in words ("examples of each class"). `shots`: every K that the task has. `answer` turns examples into predictions.
    `settings` are tried on dev for every hidden state; `further(K, chosen)` returns settings that are tried after these, for
    the chosen hidden state alone. `floor(fold)`: the primary score of an answer that ignores the sound. `develop`: returns the
    fold as the answers get it, if a dev split has to be made (ASV) or splits are cut short; test stays as it is.
    `available(fold)`: the number of examples of the scarcest class; of a larger K, all are used, and the result says so.
    `controls`: by name, answers of the same form that lack what the score should measure; they answer test under the setting
    that was chosen, and their score is recorded beside that of each K. `files(corpora)`: further files that `answer` reads,
    which are added to those of the fold. `remarks(fold)`: notes for the result, one sentence each. `weak`: why the method is a
    weak one.
    """

    question: str
    counted: str
    shots: tuple[Shots, ...]
    answer: Answer
    floor: Callable[[Fold], float]
    settings: tuple[Setting, ...] = ({},)
    further: Callable[[Shots, Setting], tuple[Setting, ...]] = no_further
    words: Mapping[str, str] = field(default_factory=dict)
    develop: Callable[[Fold], Fold] | None = None
    available: Callable[[Fold], float] | None = None
    files: Callable[[Corpora], Mapping[str, Path]] = no_files
    remarks: Callable[[Fold], Sequence[str]] = nothing_to_say
    controls: Mapping[str, Answer] = field(default_factory=dict)
    weak: str = ""
