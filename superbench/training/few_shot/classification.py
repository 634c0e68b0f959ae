"""Few-shot classification of utterances by the mean feature: nearest class centroid, and k nearest neighbours for all examples.

Wang et al. (2019), "SimpleShot", arXiv 1911.04623: features are centred by the mean of the training split (unlabelled) and
scaled to length one (CL2N); the class of the nearest centroid wins. The second way to centre also divides every dimension by
its standard deviation. Neighbours vote with weights exp(cosine / 0.07), as in Wu et al. (2018), arXiv 1805.01978.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from superbench.contract import Episode, Fold, Item, LayerFeatures, Setting, Shots, Split, Task
from superbench.contract.few_shot import Answers, FewShot
from superbench.contract.predictions import Prediction
from superbench.errors import BadCorpus
from superbench.training.few_shot.episodes import draw_order, examples_of

CL2N, STANDARDISED = "mean", "mean and deviation"
CENTRINGS: tuple[Setting, ...] = ({"centring": CL2N}, {"centring": STANDARDISED})
NEIGHBOURS, TEMPERATURE = 10, 0.07
MOST_DEV_ITEMS = 1_000
"""Settings are chosen on at most so many items of dev, drawn at random (seeded, the same for every model)."""
SHOTS: tuple[Shots, ...] = (1, 2, 5, 10, 20, "all")
QUESTIONS = 1_024
"""Items that are compared at once, with all examples by k nearest neighbours: 0.6 GB for VoxCeleb1."""
MOST_NUMBERS = 6_000_000
"""Distances to centroids in memory at once: 24 MB, which the allocator uses again (the kernel zeroes every larger block)."""
ROWS = 4_096
"""Vectors whose squares are in memory at once."""


def is_classification(task: Task, folds: Sequence[Fold]) -> bool:
    """Returns True if a task chooses one label for each item: its primary score is the accuracy, its labels are texts, or
    records of texts."""
    labels = (item.label for fold in folds for item in fold.train.items)
    return task.card.primary == "accuracy" and all(isinstance(label, str | Mapping) for label in labels)


def classification(task: Task) -> FewShot:
    """Returns how a classification task is put without a gradient: its labels are its classes."""
    classifier = Classifier(about_speakers=task.card.domain == "speaker")
    return FewShot(
        question=task.card.question or f"{task.card.title}.",
        words=task.card.words,
        counted="examples of each class",
        shots=SHOTS,
        answer=classifier,
        floor=chance,
        settings=CENTRINGS,
        further=neighbours,
        develop=with_small_dev,
        remarks=classifier.remarks,
        available=lambda fold: min(Counter(map(key_of, fold.train.items)).values()),
    )


def chance(fold: Fold) -> float:
    """Returns the accuracy of guessing, in percent: one of the classes of the training split."""
    return 100.0 / max(len({key_of(item) for item in fold.train.items}), 1)


def key_of(item: Item) -> str:
    """Returns the class of an item as text; a record of several values is one class."""
    return item.label if isinstance(item.label, str) else json.dumps(item.label, sort_keys=True)


def neighbours(shots: Shots, chosen: Setting) -> tuple[Setting, ...]:
    """Returns k nearest neighbours, the other classifier, which is tried for all examples in the space that centroids chose."""
    return ({**chosen, "classifier": f"{NEIGHBOURS} nearest neighbours"},) if shots == "all" else ()


def with_small_dev(fold: Fold) -> Fold:
    """Returns the fold with at most 1 000 items of dev."""
    items = fold.dev.items
    if len(items) <= MOST_DEV_ITEMS:
        return fold
    kept = sorted(draw_order(len(items), 0, fold.name, "dev")[:MOST_DEV_ITEMS])
    return replace(fold, dev=replace(fold.dev, items=tuple(items[i] for i in kept)))


class Classifier:
    """Answers a split by nearest centroids or neighbours.

    Unless the task is `about_speakers`, no speaker (group) of the test split is among the examples; if a class would be left
    without an example, because the splits of the corpus share speakers, all training items may be examples (see `remarks`).
    """

    def __init__(self, about_speakers: bool) -> None:
        self.about_speakers = about_speakers
        self._known: _Examples | None = None
        self._scratch = torch.empty(0)

    def __call__(
        self, fold: Fold, split: Split, episodes: Sequence[Episode], settings: Sequence[Setting], features: LayerFeatures
    ) -> Answers:
        """Yields the predictions of `split` for every episode under every setting; raises `BadCorpus` without examples."""
        given = self._known
        if given is None or given.fold is not fold or given.episodes != episodes:  # it is the same for all hidden states
            given = self._known = _Examples(fold, episodes, self.about_speakers)
        predicted = _Predicted(fold.name, split, given.labels)
        train, asked = features.means(fold.train.items), features.means(split.items)
        for setting in settings:
            if self._scratch.shape != train.shape:
                self._scratch = torch.empty_like(train)
            examples, questions = centred(train, asked, setting, self._scratch)
            nearest = _nearest_neighbours if "classifier" in setting else _nearest_centroids
            if len(given.allowed) < len(examples):
                examples = examples[given.allowed]
            answers = nearest(examples, questions, given.classes, given.drawn)
            for episode, chosen in zip(episodes, answers, strict=True):
                yield episode, setting, predicted.of(chosen.tolist())

    def remarks(self, fold: Fold) -> list[str]:
        """Returns a note if speakers of the test split are among the examples."""
        everything = len(allowed_examples(fold, self.about_speakers)) == len(fold.train.items)
        if self.about_speakers or not everything or all(_of_others(fold)):
            return []
        return ["speakers of the test split are among the examples, because the splits of this corpus share them"]


class _Examples:
    """The examples of a fold: their positions in train, their classes with a label for each, and those of every episode."""

    def __init__(self, fold: Fold, episodes: Sequence[Episode], about_speakers: bool) -> None:
        self.fold, self.episodes = fold, list(episodes)
        allowed = allowed_examples(fold, about_speakers)
        _, first, classes = np.unique([key_of(fold.train.items[i]) for i in allowed], return_index=True, return_inverse=True)
        self.labels = [fold.train.items[allowed[i]].label for i in first]
        self.drawn = [torch.from_numpy(rows) for rows in examples_of(classes, episodes, fold.name)]
        self.allowed, self.classes = torch.from_numpy(allowed), torch.from_numpy(classes)


def allowed_examples(fold: Fold, about_speakers: bool) -> np.ndarray:
    """Returns the positions of the training items that may be examples; raises `BadCorpus` for a class of test without one.

    Unless a task is about speakers, they have no speaker of the test split, if every class is left with an example.
    """
    keys, tested = [key_of(item) for item in fold.train.items], {key_of(item) for item in fold.test.items}
    if lacking := sorted(tested - set(keys)):
        raise BadCorpus(
            f"The class {lacking[0]!r} of the test split has no example in the training split (there are {len(lacking)} "
            "such classes). A few-shot run needs one of each: complete the corpus."
        )
    others = [] if about_speakers else [i for i, of_others in enumerate(_of_others(fold)) if of_others]
    return np.array(others if tested <= {keys[i] for i in others} else range(len(keys)))


def _of_others(fold: Fold) -> list[bool]:
    """Returns for each training item whether none of its speakers occurs in the test split."""
    tested = {group for item in fold.test.items for group in item.group}
    return [tested.isdisjoint(item.group) for item in fold.train.items]


class _Predicted:
    """Predictions of a split by the number of a class; those of an item for the same class are one object."""

    def __init__(self, fold: str, split: Split, labels: Sequence[Any]) -> None:
        self.fold, self.items, self.labels = fold, split.items, labels
        self._made: list[dict[int, Prediction]] = [{} for _ in split.items]

    def of(self, classes: Sequence[int]) -> list[Prediction]:
        """Returns the predictions that these classes (item,) are; the experiment adds K and the draw."""
        return [
            made.get(number) or made.setdefault(number, self._new(item, number))
            for item, made, number in zip(self.items, self._made, classes, strict=True)
        ]

    def _new(self, item: Item, number: int) -> Prediction:
        label = self.labels[number]
        return Prediction(id=item.id, fold=self.fold, group=item.group, reference=item.label, prediction=label)


def centred(train: Tensor, asked: Tensor, setting: Setting, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Returns both sets of features, centred by the statistics of train and scaled to length one; those of train in `out`."""
    mean = train.mean(0)
    moved = torch.sub(train, mean, out=out)
    scale = _deviation(moved).clamp_(min=1e-9) if setting["centring"] == STANDARDISED else None

    def unit(moved: Tensor) -> Tensor:
        if scale is not None:
            moved.div_(scale)
        return moved.div_(moved.norm(dim=1, keepdim=True).clamp_(min=1e-12))  # as `normalize`, without copies

    return unit(moved), unit(asked - mean)


def _deviation(moved: Tensor) -> Tensor:
    """Returns the standard deviation of each dimension of centred vectors; `Tensor.std` takes twenty times as long."""
    squares, buffer = torch.zeros(moved.shape[1], dtype=torch.float64), torch.empty(ROWS, moved.shape[1])
    for part in moved.split(ROWS):
        squares += torch.mul(part, part, out=buffer[: len(part)]).sum(0)
    return (squares / (len(moved) - 1)).sqrt().float()


def _nearest_centroids(examples: Tensor, questions: Tensor, classes: Tensor, drawn: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yields for each draw (positions among the examples, by class) the class (question,) whose centroid is nearest (Euclidean
    distance).

    `classes`: those of the examples. Several draws are compared at once, as many as the bound of memory allows.
    """
    count = int(classes.max()) + 1
    most = max(MOST_NUMBERS // (min(len(questions), QUESTIONS) * count), 1)
    for start in range(0, len(drawn), most):
        batch = drawn[start : start + most]
        sizes = torch.stack([classes[rows].bincount(minlength=count) for rows in batch]).flatten()
        starts = sizes.cumsum(0) - sizes
        centroids = embedding_bag(torch.cat(list(batch)), examples, starts, mode="sum").div_(sizes[:, None])
        halves = centroids.square().sum(1) / 2
        nearest = []
        for part in questions.split(QUESTIONS):
            nearness = (part @ centroids.T).sub_(halves)
            nearest.append(nearness.view(len(part), len(batch), count).argmax(2))
        yield from torch.cat(nearest).T


def _nearest_neighbours(examples: Tensor, questions: Tensor, classes: Tensor, drawn: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yields for each draw the class (question,) with most votes of the nearest examples; a vote weighs exp(cosine / 0.07)."""
    for rows in drawn:
        pool, chosen = examples[rows].T, []
        for part in questions.split(QUESTIONS):
            cosines, nearest = (part @ pool).topk(min(NEIGHBOURS, len(rows)), dim=1)
            votes = torch.zeros(len(part), int(classes.max()) + 1)
            chosen.append(votes.scatter_add_(1, classes[rows][nearest], (cosines / TEMPERATURE).exp()).argmax(1))
        yield torch.cat(chosen)
