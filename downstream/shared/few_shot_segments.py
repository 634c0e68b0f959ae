"""Units (phones, letters) from K minutes of transcribed speech, without a gradient: segmental k-means.

Rabiner, Wilpon, Juang (1986), "A segmental k-means training procedure for connected word recognition". Every utterance is cut
evenly into the units of its transcript; a unit's centroid is the mean of its frames; Viterbi aligns anew; and so on. A frame's
score for a unit is minus half the squared distance from its centroid, in a space where all units have the same covariance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from downstream.shared.unit_search import align
from superbench import BadCorpus, Episode, Fold, Item, LayerFeatures, Split, audio_header, draw_order

SILENCE = "silence"
"""A unit that may stand at both ends of an utterance, and between its words."""
ROUNDS = 4
DIMENSIONS = 64
"""Principal components of the training frames that are kept, each scaled to variance one."""
MOST_LOOKED_AT = 200
"""Training utterances from whose frames the components are computed, without their transcripts."""
SHRUNK = 0.1
"""Share of the identity in the covariance that all units share."""
ROWS = 100_000
"""Frames that are scored at once."""


@dataclass(frozen=True)
class Space:
    """Principal components of training frames, scaled to variance one."""

    mean: Tensor
    components: Tensor

    @classmethod
    def of(cls, items: Sequence[Item], features: LayerFeatures) -> Space:
        """Computes the components from some of the items, spread over the split."""
        frames = torch.cat([features.frames(item) for item in items[:: -(-len(items) // MOST_LOOKED_AT)]]).double()
        mean = frames.mean(0)
        values, vectors = torch.linalg.eigh((frames - mean).T @ (frames - mean) / len(frames))
        kept = (values > values.max() * 1e-6).nonzero()[:, 0][-DIMENSIONS:]
        return cls(mean.float(), (vectors[:, kept] / values[kept].sqrt()).float())

    def __call__(self, frames: Tensor) -> Tensor:
        """Returns (time, components) for frames (time, dim)."""
        return (frames - self.mean) @ self.components


@dataclass(frozen=True)
class Units:
    """Centroids (unit, dim) in a space that `whitening` (dim, dim) leads to; `names[0]` is silence."""

    names: tuple[str, ...]
    centroids: Tensor
    whitening: Tensor

    def scores(self, frames: Tensor) -> np.ndarray:
        """Returns minus half the squared distance of each frame from each centroid, (time, unit), float32, but for a term that
        is the same for all units of a frame."""
        centroids = self.centroids @ self.whitening
        return (frames @ self.whitening @ centroids.T - centroids.square().sum(1) / 2).numpy()


Words = Sequence[Sequence[str]]
"""The words of a transcript, each as units (PR: one word of all phones)."""


def names_of(strings: Sequence[Words]) -> tuple[str, ...]:
    """Returns the names of the units of some transcripts; the first is silence."""
    return (SILENCE, *sorted({unit for string in strings for word in string for unit in word}))


def random_units(strings: Sequence[Words], dim: int, draw: int) -> Units:
    """Returns as many centroids (unit, dim) that no speech was read for, the same for every model."""
    names = names_of(strings)
    random = np.random.default_rng([draw, len(names)]).normal(size=(len(names), dim))
    return Units(names, torch.from_numpy(random).float(), torch.eye(dim))


def fitted(frames: Sequence[Tensor], strings: Sequence[Words]) -> Units:
    """Returns the units of some utterances: `frames` of each (time, dim), and the transcript of each."""
    names = names_of(strings)
    index = {name: number for number, name in enumerate(names)}
    layouts = [_layout(string, index) for string in strings]
    lengths = [len(one) for one in frames]
    joined = torch.cat(list(frames))
    labels = torch.from_numpy(np.concatenate([_evenly(*pair) for pair in zip(layouts, lengths, strict=True)]))
    units = _means(names, joined, labels)
    for _ in range(ROUNDS):
        labels = torch.from_numpy(_aligned(units, joined, layouts, lengths))
        units = _means(names, joined, labels)
    return units


Layout = tuple[np.ndarray, np.ndarray]
"""The units of an utterance in order, and which of them may be left out."""


def _layout(string: Words, index: Mapping[str, int]) -> Layout:
    units, optional = [0], [True]
    for word in string:
        units += [*(index[unit] for unit in word), 0]
        optional += [*(False for _ in word), True]
    return np.array(units), np.array(optional)


def _evenly(layout: Layout, frames: int) -> np.ndarray:
    """Returns the unit of each frame if all of them, and silence at both ends, last equally long."""
    units, optional = layout
    inner = units[1:-1][~optional[1:-1]]
    kept = np.concatenate([[0], inner, [0]])
    return kept[np.arange(frames) * len(kept) // frames]


def _aligned(units: Units, joined: Tensor, layouts: Sequence[Layout], lengths: Sequence[int]) -> np.ndarray:
    """Returns the unit of each frame; -1 for an utterance that is too short for its transcript."""
    labels, start = [], 0
    scores, scored = np.empty((0, 0), np.float32), 0
    for layout, length in zip(layouts, lengths, strict=True):
        if start + length > scored:
            begin, scored = start, min(start + max(length, ROWS), len(joined))
            scores = units.scores(joined[begin:scored])
        places = align(scores[start - begin : start - begin + length], *layout)
        labels.append(np.where(places >= 0, layout[0][places], -1))
        start += length
    return np.concatenate(labels)


def _means(names: tuple[str, ...], joined: Tensor, labels: Tensor) -> Units:
    """Returns the mean of each unit's frames, and what makes the covariance within units the identity."""
    if (labels < 0).any():
        joined, labels = joined[labels >= 0], labels[labels >= 0]
    counts = labels.bincount(minlength=len(names)).float()
    centroids = torch.zeros(len(names), joined.shape[1]).index_add_(0, labels, joined) / counts.clamp(min=1)[:, None]
    total = (joined.T @ joined - (centroids * counts[:, None]).T @ centroids) / max(len(joined), 1)
    identity = torch.eye(len(total))
    shrunk = (1 - SHRUNK) * total + SHRUNK * identity * total.diagonal().mean().clamp(min=1e-6)
    centroids[counts == 0] = 1e3  # a unit without a frame is found nowhere
    return Units(names, centroids, torch.linalg.inv(torch.linalg.cholesky(shrunk)).T)


# ---------------------------------------------------------------- minutes of examples


def of_other_speakers(fold: Fold) -> list[Item]:
    """Returns the training utterances of speakers that are not in test; raises `BadCorpus` if there are none."""
    tested = {group for item in fold.test.items for group in item.group}
    if items := [item for item in fold.train.items if tested.isdisjoint(item.group)]:
        return items
    raise BadCorpus("Every training utterance is by a speaker of test, so there are no examples. Complete the corpus.")


def drawn(items: Sequence[Item], seconds: Sequence[float], episode: Episode, *words: str) -> list[Item]:
    """Returns the utterances of an episode: in the order of the draw until K minutes are full. `seconds`: the length of
    each item."""
    if episode.shots == "all":
        return list(items)
    order = draw_order(len(items), episode.draw, *words, "minutes")
    filled = np.cumsum(np.asarray(seconds)[order])
    count = int(np.searchsorted(filled, 60.0 * episode.shots)) + (episode.shots > 0)  # the last one fills the time
    return [items[position] for position in order[:count].tolist()]


def seconds_of(item: Item) -> float:
    """Returns the length of an utterance, from the header of its file."""
    samples, rate = audio_header(item.audio.path)
    return samples / rate


def available(fold: Fold) -> float:
    """Returns the minutes of speech that may be examples."""
    return sum(map(seconds_of, of_other_speakers(fold))) / 60


@dataclass(frozen=True)
class Lessons:
    """The examples of every episode, and frames (time, components) by item id: those of the examples, and of the items that are
    asked about."""

    chosen: Mapping[Episode, Sequence[Item]]
    known: Mapping[str, Tensor]
    asked: Mapping[str, Tensor]

    @classmethod
    def of(cls, fold: Fold, split: Split, episodes: Sequence[Episode], features: LayerFeatures) -> Lessons:
        """Draws the examples, and reads the frames of one hidden state."""
        items = of_other_speakers(fold)
        seconds = [seconds_of(item) for item in items]
        chosen = {episode: drawn(items, seconds, episode, fold.name) for episode in episodes}
        space = Space.of(items, features)
        examples = {item.id: item for some in chosen.values() for item in some}

        def frames(some: Iterable[Item]) -> dict[str, Tensor]:
            return {item.id: space(features.frames(item)) for item in some}

        return cls(chosen, frames(examples.values()), frames(split.items))
