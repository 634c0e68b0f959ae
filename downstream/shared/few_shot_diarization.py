"""SD without a gradient: an energy gate finds speech; its smoothed frames go to the nearer of two centroids.

K = 0: the centroids are those of two clusters of the recording itself. K ≥ 1: they are the means of K seconds of each of the
two speakers, taken from other recordings of the same split where only that speaker talks. A frame that lies between the two
centroids is taken for both speakers; how far from the middle, dev says. The control takes all speech for both speakers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from downstream.shared.clusters import Smoothed
from downstream.shared.diarization import Piece, median_filter, one_speaker_error, rounded, turns_of
from superbench import (
    SAMPLE_RATE,
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
    draw_order,
    load_audio,
)

CHUNKS = 2
"""Examples are taken in chunks, so many a second."""
MOST_TRAINING, MOST_DEV = 60, 200
"""Pieces of train whose frames say how to standardise, and recordings of dev, at most."""
SETTINGS: tuple[Setting, ...] = tuple({"smooth": seconds, "gate": 0.3, "both": 0.4} for seconds in (0.5, 1.0))
MEDIAN = 0.3
"""Seconds of the median filter over decisions."""
Recordings = Mapping[str, Sequence[Item]]
"""Name -> the pieces of a recording, in order."""


def further(shots: Shots, chosen: Setting) -> tuple[Setting, ...]:
    """Returns other gates, and other widths of what both speakers get, for the smoothing that was chosen."""
    tried = [{**chosen, "gate": gate, "both": both} for gate in (0.3, 0.4, 0.5) for both in (0.0, 0.2, 0.4, 0.8, 1.6)]
    return tuple(setting for setting in tried if setting != chosen)


def without_speakers(
    fold: Fold, split: Split, episodes: Sequence[Episode], settings: Sequence[Setting], features: LayerFeatures
) -> Answers:
    """Yields the control: all that the energy gate finds is both speakers' speech, however the frames sound."""
    yield from answer(fold, split, episodes, [{**setting, "both": math.inf} for setting in settings], features)


def answer(
    fold: Fold, split: Split, episodes: Sequence[Episode], settings: Sequence[Setting], features: LayerFeatures
) -> Answers:
    """Yields the turns of every recording."""
    recordings, scale = _recordings(split), _Scale.of(fold.train.items, features)
    enrolled = [episode for episode in episodes if episode.shots != 0]
    examples = _Examples.of(recordings if enrolled else {}, features, scale)
    drawn = {episode: examples.drawn(episode, fold.name, split.name) for episode in enrolled}
    answers: dict[tuple[int, int], list[Prediction]] = {}
    for name, items in recordings.items():
        frames = torch.cat([scale(_frames(item, features)) for item in items])
        loud = np.concatenate([loudness(item) for item in items])
        speakers, reference = items[0].group, rounded(items[0].label.turns)
        known = [examples.centroids(name, speakers, drawn.get(episode, {}), episode.shots) for episode in episodes]
        smooth = Smoothed(frames, loud, features.hop)
        for s, setting in enumerate(settings):
            spoken = loud > setting["gate"]
            for e, given in enumerate(known):
                active = _decided(smooth, given, setting) & spoken[:, None]
                active = median_filter(active, 2 * round(MEDIAN * SAMPLE_RATE / features.hop / 2) + 1)
                answers.setdefault((e, s), []).append(
                    Prediction(
                        id=name, fold=fold.name, group=speakers, reference=reference,
                        prediction=turns_of(active, items[0].label.hop),
                    )
                )  # fmt: skip
    for (e, s), predictions in answers.items():
        yield episodes[e], settings[s], predictions


def _recordings(split: Split) -> Recordings:
    recordings: dict[str, list[Item]] = {}
    for item in split.items:
        recordings.setdefault(item.label.recording, []).append(item)
    return recordings


# ---------------------------------------------------------------- frames


def _frames(item: Item, features: LayerFeatures) -> Tensor:
    """Returns the frames of a piece, (frames of its label, dim): cut, or with the last one repeated."""
    frames = features.frames(item)
    return frames[torch.arange(len(item.label.active)).clamp(max=len(frames) - 1)]


@dataclass(frozen=True)
class _Scale:
    """Mean and deviation of the frames of some training pieces, which no label is read of."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, items: Sequence[Item], features: LayerFeatures) -> _Scale:
        """Reads at most 60 pieces, spread over the split."""
        frames = torch.cat([features.frames(item) for item in items[:: -(-len(items) // MOST_TRAINING)]])
        return cls(frames.mean(0), frames.std(0).clamp(min=1e-9))

    def __call__(self, frames: Tensor) -> Tensor:
        return (frames - self.mean) / self.deviation


def loudness(item: Item) -> np.ndarray:
    """Returns the energy of each frame of a piece in decibels, mapped: 0 is its 5th percentile, 1 its 95th."""
    piece: Piece = item.label
    frames = len(piece.active)
    wave = load_audio(item.audio).numpy().astype(np.float64)
    wave = np.pad(wave, (0, max(frames * piece.hop - len(wave), 0)))[: frames * piece.hop]
    energy = np.square(wave).reshape(frames, piece.hop).mean(1)
    decibels = 10 * np.log10(np.convolve(energy, np.full(5, 0.2), mode="same") + 1e-10)
    low, high = np.percentile(decibels, [5, 95])
    return (decibels - low) / max(high - low, 1e-9)


def _decided(smooth: Smoothed, given: Sequence[Tensor], setting: Setting) -> np.ndarray:
    """Returns decisions (time, 2). On the line through the centroids, -1/2 at the first and 1/2 at the second, a frame at less
    than `both` from the middle is speech of both. `given`: the centroids of the speakers that have examples."""
    both = setting["both"]
    if both == math.inf:
        return np.ones((len(smooth.frames), 2), bool)
    centroids = _centroids(smooth, given, setting)
    direction = centroids[1] - centroids[0]
    places = (smooth.at(setting) - centroids.mean(0)) @ direction / direction.square().sum().clamp(min=1e-9)
    return torch.stack([places < both, places > -both], 1).numpy()


def _centroids(smooth: Smoothed, given: Sequence[Tensor], setting: Setting) -> Tensor:
    """Returns the centroids (2, dim): those of the given speakers, and for a speaker without examples, the cluster that is
    farther from the other speaker."""
    if len(given) == 2:
        return torch.stack(list(given))
    clusters = smooth.clusters(setting)
    if not given:
        return clusters
    return torch.stack([given[0], clusters[(clusters - given[0]).square().sum(1).argmax()]])


# ---------------------------------------------------------------- examples


Drawn = Mapping[str, np.ndarray]
"""Speaker -> positions of its chunks, in the order of a draw."""


@dataclass(frozen=True)
class _Examples:
    """Half seconds in which one speaker talks alone: the mean of each (chunk, dim), its recording, its speaker."""

    means: Tensor
    recordings: np.ndarray
    speakers: np.ndarray

    @classmethod
    def of(cls, recordings: Recordings, features: LayerFeatures, scale: _Scale) -> _Examples:
        """Cuts the frames of every speaker of every recording into chunks."""
        means, names, speakers = [], [], []
        for name, items in recordings.items():
            for item in items:
                frames = scale(_frames(item, features))
                for speaker, places in _alone(item):
                    means.append(frames[torch.from_numpy(places)].mean(0))
                    names.append(name)
                    speakers.append(speaker)
        return cls(torch.stack(means) if means else torch.zeros(0, 1), np.array(names), np.array(speakers))

    def drawn(self, episode: Episode, *words: str) -> Drawn:
        """Returns the chunks of each speaker, in the order of the episode's draw."""
        order = draw_order(len(self.speakers), episode.draw, *words, "seconds")
        names, numbers = np.unique(self.speakers, return_inverse=True)
        order = order[np.argsort(numbers[order], kind="stable")]
        parts = np.split(order, np.cumsum(np.bincount(numbers, minlength=len(names)))[:-1])
        return dict(zip(names.tolist(), parts, strict=True))

    def centroids(self, recording: str, speakers: Sequence[str], drawn: Drawn, shots: Shots) -> list[Tensor]:
        """Returns the mean of K seconds of each of the speakers that have any in other recordings."""
        found = []
        for speaker in speakers:
            chunks = drawn.get(speaker, np.empty(0, int))
            chunks = chunks[self.recordings[chunks] != recording]
            chunks = chunks if shots == "all" else chunks[: CHUNKS * shots]
            if len(chunks):
                found.append(self.means[torch.from_numpy(chunks)].mean(0))
        return found


def _alone(item: Item) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (speaker, the places of half a second of frames in which only this one talks)."""
    piece: Piece = item.label
    size = SAMPLE_RATE // (CHUNKS * piece.hop)
    for column, speaker in enumerate(sorted({speaker for *_, speaker in piece.turns})):
        places = np.flatnonzero(piece.active[:, column] & (piece.active.sum(1) == 1))
        for start in range(0, len(places) - size + 1, size):
            yield speaker, places[start : start + size]


def available(fold: Fold) -> float:
    """Returns the seconds that the scarcest speaker of a test recording has in other recordings."""
    chunks = Counter((item.label.recording, speaker) for item in fold.test.items for speaker, _ in _alone(item))
    spoken: Counter[str] = Counter()
    for (_, speaker), count in chunks.items():
        spoken[speaker] += count
    pairs = {(item.label.recording, speaker) for item in fold.test.items for speaker in item.group}
    return min(spoken[speaker] - chunks[recording, speaker] for recording, speaker in pairs) / CHUNKS


# ---------------------------------------------------------------- the method


def develop(fold: Fold) -> Fold:
    """Returns the fold with at most 200 recordings of dev."""
    names = list(_recordings(fold.dev))
    kept = {names[i] for i in draw_order(len(names), 0, fold.name, "dev")[:MOST_DEV].tolist()}
    return replace(fold, dev=replace(fold.dev, items=tuple(item for item in fold.dev.items if item.label.recording in kept)))


def floor(fold: Fold) -> float:
    """Returns the DER of one speaker for all speech."""
    return one_speaker_error(rounded(items[0].label.turns) for items in _recordings(fold.test).values())


FEW_SHOT = FewShot(
    question="Which of two speakers talks when?",
    counted="seconds of each speaker",
    shots=(0, 1, 2, 5, 10, "all"),
    answer=answer,
    floor=floor,
    settings=SETTINGS,
    further=further,
    develop=develop,
    available=available,
    controls={"no speaker told apart": without_speakers},
    weak="speech is found by its energy, and overlap by lying between two centroids; the floor is one speaker for all speech",
)
