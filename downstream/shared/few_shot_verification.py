"""ASV without a gradient: the cosine of two mean features, centred; with K examples, of a mean over several utterances.

K = 0 is truly zero-shot: no utterance is known to be by the speaker but the one of the trial. With K ≥ 1, the enrolled speaker
is the mean of the enrolment utterance (the left one of a trial) and K further utterances of the same speaker, never the
utterance that is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import normalize

from superbench import (
    CENTRINGS,
    Answers,
    Episode,
    FewShot,
    Fold,
    Item,
    LayerFeatures,
    Prediction,
    Setting,
    Shots,
    Split,
    Trial,
    centred,
    draw_order,
)

DEV_SPEAKERS, DEV_UTTERANCES, DEV_PAIRS = 40, 30, 10
"""The dev split: so many training speakers, utterances of each, and pairs of each kind (same, other speaker) for each."""
MOST_TRAINING = 2_000
"""The mean of so many training utterances is subtracted."""


def answer(
    fold: Fold, split: Split, episodes: Sequence[Episode], settings: Sequence[Setting], features: LayerFeatures
) -> Answers:
    """Yields every trial with the cosine of the enrolled speaker and the tested utterance."""
    train, asked = features.means(fold.train.items), features.means(split.items)
    trials = _Trials.of(split)
    for setting in settings:
        vectors = centred(train, asked, setting)[1].double().numpy()  # (utterance, dim), length one
        for episode in episodes:
            order = draw_order(len(vectors), episode.draw, fold.name, split.name, "enrolment")
            enrolled = torch.from_numpy(trials.enrolled(vectors, order, episode.shots))
            cosines = (normalize(enrolled, dim=1).numpy() * vectors[trials.right]).sum(1).tolist()
            yield episode, setting, _predictions(fold.name, split, cosines)


def _predictions(fold: str, split: Split, cosines: Sequence[float]) -> list[Prediction]:
    return [
        Prediction(id=trial.id, fold=fold, group=trial.group, reference=trial.reference, prediction=cosine)
        for trial, cosine in zip(split.trials, cosines, strict=True)
    ]


@dataclass(frozen=True)
class _Trials:
    """The utterances of each trial, and the speaker of each utterance, by number."""

    left: np.ndarray
    right: np.ndarray
    speakers: np.ndarray

    @classmethod
    def of(cls, split: Split) -> _Trials:
        """Numbers the utterances of a split."""
        number = {item.id: i for i, item in enumerate(split.items)}
        left, right = (np.array([number[name] for name in names]) for names in zip(*_names(split.trials), strict=True))
        return cls(left, right, np.unique([str(item.label) for item in split.items], return_inverse=True)[1])

    def enrolled(self, vectors: np.ndarray, order: np.ndarray, shots: Shots) -> np.ndarray:
        """Returns the sum of the enrolment utterance and its K further ones, (trial, dim).

        The further ones are the first of their speaker in `order` that are not of the trial: a difference of cumulative sums,
        less what must be left out.
        """
        order = order[np.argsort(self.speakers[order], kind="stable")]
        sizes = np.bincount(self.speakers)
        starts = (np.cumsum(sizes) - sizes)[self.speakers]
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order)) - starts[order]  # of an utterance among those of its speaker
        sums = np.concatenate([np.zeros((1, vectors.shape[1])), vectors[order].cumsum(0)])
        size = sizes[self.speakers[self.left]]
        own = self.speakers[self.left] == self.speakers[self.right]
        tested = np.where(own & (self.left != self.right), rank[self.right], len(order))
        count = size if shots == "all" else np.minimum(self._reach(rank[self.left], tested, shots), size)
        first = starts[self.left]
        further = sums[first + count] - sums[first]
        further -= vectors[self.left] * (rank[self.left] < count)[:, None]
        further -= vectors[self.right] * (tested < count)[:, None]
        return vectors[self.left] + further

    @staticmethod
    def _reach(left: np.ndarray, right: np.ndarray, shots: int) -> np.ndarray:
        """Returns how many utterances of the speaker must be taken, so that `shots` are left without these two."""
        count = shots + (np.minimum(left, right) < shots)
        return count + (np.maximum(left, right) < count)


def _names(trials: Sequence[Trial]) -> Iterator[tuple[str, str]]:
    return ((trial.left, trial.right) for trial in trials)


# ---------------------------------------------------------------- a dev split


def develop(fold: Fold) -> Fold:
    """Returns the fold with a dev split made of training speakers (at most 40, at most half of them), who leave train.

    Each has ten pairs of its own utterances and ten with another speaker's, or fewer if it has fewer. Sex is not regarded.
    """
    by_speaker: dict[str, list[Item]] = {}
    for item in fold.train.items:
        by_speaker.setdefault(str(item.label), []).append(item)
    names = sorted(by_speaker)
    count = min(DEV_SPEAKERS, len(names) // 2)
    chosen = [names[i] for i in draw_order(len(names), 0, fold.name, "dev speakers")[:count].tolist()]
    spoken = {name: _drawn(by_speaker[name], DEV_UTTERANCES, fold.name, name) for name in sorted(chosen)}
    trials = tuple(trial for name in spoken for trial in (*_same(name, spoken[name]), *_other(name, spoken)))
    dev = Split("dev", tuple(item for items in spoken.values() for item in items), trials)
    rest = [item for item in fold.train.items if str(item.label) not in spoken]
    return replace(fold, train=replace(fold.train, items=tuple(_drawn(rest, MOST_TRAINING, fold.name, "mean"))), dev=dev)


def _drawn(items: Sequence[Item], most: int, *words: str) -> list[Item]:
    """Returns at most so many of the items, in their order."""
    return [items[i] for i in sorted(draw_order(len(items), 0, *words)[:most].tolist())]


def _same(name: str, items: Sequence[Item]) -> list[Trial]:
    left, right = np.triu_indices(len(items), 1)
    kept = draw_order(len(left), 0, "same speaker", name)[:DEV_PAIRS]
    pairs = zip(left[kept].tolist(), right[kept].tolist(), strict=True)
    return [Trial(items[i].id, items[j].id, 1, (name,)) for i, j in pairs]


def _other(name: str, spoken: dict[str, list[Item]]) -> list[Trial]:
    """Returns pairs of this speaker with others, as many as of its own; no pair twice."""
    own, others = spoken[name], [other for other in spoken if other != name]
    pairs = [(i, other) for i in range(len(own)) for other in others]
    count = min(DEV_PAIRS, len(own) * (len(own) - 1) // 2)
    trials = []
    for pair in draw_order(len(pairs), 0, "another speaker", name)[:count].tolist():
        i, other = pairs[pair]
        right = spoken[other][int(draw_order(len(spoken[other]), pair, name, other)[0])]
        trials.append(Trial(own[i].id, right.id, 0, tuple(sorted((name, other)))))
    return trials


def available(fold: Fold) -> float:
    """Returns the fewest further utterances of the enrolled speaker in any trial of test."""
    speaker = {item.id: str(item.label) for item in fold.test.items}
    names, counts = np.unique(list(speaker.values()), return_counts=True)
    sizes = dict(zip(names.tolist(), counts.tolist(), strict=True))
    return float(min(sizes[speaker[left]] - 1 - (speaker[left] == speaker[right]) for left, right in _names(fold.test.trials)))


FEW_SHOT = FewShot(
    question="Are two utterances by the same speaker?",
    counted="further utterances of the enrolled speaker",
    shots=(0, 1, 2, 5, 10, 20, "all"),
    answer=answer,
    floor=lambda fold: 50.0,
    settings=CENTRINGS,
    develop=develop,
    available=available,
)
