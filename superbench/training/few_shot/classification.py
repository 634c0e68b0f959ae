"""Few-shot classification of utterances by the mean feature: nearest class centroid, and k nearest neighbours for all examples.

Wang et al. (2019), "SimpleShot", arXiv 1911.04623: features are centred by the mean of the training split (unlabelled) and
scaled to length one (CL2N); the class of the nearest centroid wins. The second way to centre also divides every dimension by
its standard deviation. Neighbours vote with weights exp(cosine / 0.07), as in Wu et al. (2018), arXiv 1805.01978.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from superbench.contract import Episode, Fold, Item, LayerFeatures, Setting, Shots, Split, Task
from superbench.contract.few_shot import Answers, FewShot
from superbench.contract.predictions import Prediction
from superbench.errors import BadCorpus
from superbench.training.few_shot.episodes import draw_examples, draw_order

CL2N, STANDARDISED = "mean", "mean and deviation"
CENTRINGS: tuple[Setting, ...] = ({"centring": CL2N}, {"centring": STANDARDISED})
NEIGHBOURS, TEMPERATURE = 10, 0.07
MOST_DEV_ITEMS = 2_000
"""Settings are chosen on at most so many items of dev, drawn at random (seeded, the same for every model)."""
SHOTS: tuple[Shots, ...] = (1, 2, 5, 10, 20, "all")
ROWS = 4_096
"""Items that are compared with all examples at once: bounds the memory of k nearest neighbours."""


def is_classification(task: Task, folds: Sequence[Fold]) -> bool:
    """Returns True if a task chooses one label for each item: its primary score is the accuracy, its labels are texts, or
    records of texts."""
    labels = (item.label for fold in folds for item in fold.train.items)
    return task.card.primary == "accuracy" and all(isinstance(label, str | Mapping) for label in labels)


def classification(task: Task) -> FewShot:
    """Returns how a classification task is put without a gradient: its labels are its classes."""
    return FewShot(
        question=task.card.question or f"{task.card.title}.",
        words=task.card.words,
        counted="examples of each class",
        shots=SHOTS,
        answer=Classifier(about_speakers=task.card.domain == "speaker"),
        floor=chance,
        settings=CENTRINGS,
        further=neighbours,
        develop=with_small_dev,
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
    """Returns the fold with at most 2 000 items of dev."""
    items = fold.dev.items
    if len(items) <= MOST_DEV_ITEMS:
        return fold
    kept = sorted(draw_order(len(items), 0, fold.name, "dev")[:MOST_DEV_ITEMS])
    return replace(fold, dev=replace(fold.dev, items=tuple(items[i] for i in kept)))


class Classifier:
    """Answers a split by nearest centroids or neighbours. Unless the task is `about_speakers`, no speaker (group) of the test
    split is among the examples."""

    def __init__(self, about_speakers: bool) -> None:
        self.about_speakers = about_speakers

    def __call__(
        self, fold: Fold, split: Split, episodes: Sequence[Episode], settings: Sequence[Setting], features: LayerFeatures
    ) -> Answers:
        """Yields the predictions of `split` for every episode under every setting; raises `BadCorpus` without examples."""
        allowed = allowed_examples(fold, self.about_speakers)
        items = [fold.train.items[i] for i in allowed]
        names, numbers = np.unique([key_of(item) for item in items], return_inverse=True)
        labels = [items[int(np.argmax(numbers == number))].label for number in range(len(names))]
        drawn = [(episode, torch.from_numpy(draw_examples(numbers, episode, fold.name))) for episode in episodes]
        classes = torch.from_numpy(numbers)
        train, asked = features.means(fold.train.items), features.means(split.items)
        for setting in settings:
            examples, questions = _centred(train, asked, setting)
            examples = examples[torch.from_numpy(allowed)]
            nearest = _nearest_neighbours if "classifier" in setting else _nearest_centroids
            for episode, rows in drawn:
                chosen = nearest(examples[rows], questions, classes[rows])
                yield episode, setting, _predictions(fold.name, split, [labels[number] for number in chosen.tolist()])


def allowed_examples(fold: Fold, about_speakers: bool) -> np.ndarray:
    """Returns the positions of the training items that may be examples. Unless a task is about speakers, no speaker of the test
    split is among them; raises `BadCorpus` if a class of the test split has no example."""
    tested = set() if about_speakers else {group for item in fold.test.items for group in item.group}
    allowed = [i for i, item in enumerate(fold.train.items) if tested.isdisjoint(item.group)]
    classes = {key_of(fold.train.items[i]) for i in allowed}
    if lacking := sorted({key_of(item) for item in fold.test.items} - classes):
        raise BadCorpus(
            f"The class {lacking[0]!r} of the test split has no example in the training split ({len(lacking)} such "
            "classes). A few-shot run needs one of each: complete the corpus."
        )
    return np.array(allowed)


def _predictions(fold: str, split: Split, labels: Iterable[Any]) -> list[Prediction]:
    return [
        Prediction(id=item.id, fold=fold, group=item.group, reference=item.label, prediction=label)
        for item, label in zip(split.items, labels, strict=True)
    ]


def _centred(train: Tensor, asked: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """Returns both sets of features, centred by the statistics of train and scaled to length one."""
    mean = train.mean(0)
    scale = train.std(0).clamp(min=1e-9) if setting["centring"] == STANDARDISED else torch.ones(())
    return normalize((train - mean) / scale, dim=1), normalize((asked - mean) / scale, dim=1)


def _nearest_centroids(examples: Tensor, questions: Tensor, classes: Tensor) -> Tensor:
    """Returns the class (question,) whose centroid is nearest (Euclidean distance); `classes` are those of the examples."""
    sizes = classes.bincount().float()
    centroids = torch.zeros(len(sizes), examples.shape[1]).index_add_(0, classes, examples) / sizes[:, None]
    return (questions @ centroids.T - centroids.square().sum(1) / 2).argmax(1)


def _nearest_neighbours(examples: Tensor, questions: Tensor, classes: Tensor) -> Tensor:
    """Returns the class (question,) with the most votes of the nearest examples; a vote weighs exp(cosine / 0.07)."""
    pool, chosen = examples.T.contiguous(), []
    for part in questions.split(ROWS):
        cosines, nearest = (part @ pool).topk(min(NEIGHBOURS, len(examples)), dim=1)
        votes = torch.zeros(len(part), int(classes.max()) + 1)
        chosen.append(votes.scatter_add_(1, classes[nearest], (cosines / TEMPERATURE).exp()).argmax(1))
    return torch.cat(chosen)
