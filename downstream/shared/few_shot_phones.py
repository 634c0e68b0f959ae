"""PR without a gradient: units of K minutes of transcribed speech, then Viterbi over a loop of phones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from downstream.shared.few_shot_segments import SILENCE, Lessons, available, fitted, random_units
from downstream.shared.unit_search import unit_loop
from superbench import Answers, Episode, FewShot, Fold, LayerFeatures, Prediction, Setting, Shots, Split

PENALTIES = (4.0, 6.0, 8.0, 12.0, 16.0, 24.0)


def further(shots: Shots, chosen: Setting) -> tuple[Setting, ...]:
    """Returns the other penalties."""
    return tuple({"penalty": penalty} for penalty in PENALTIES if penalty != chosen["penalty"])


@dataclass(frozen=True)
class Recogniser:
    """Answers a split with the phones of every utterance; `random`: the centroids are drawn, not computed (the control)."""

    random: bool = False

    def __call__(
        self, fold: Fold, split: Split, episodes: Sequence[Episode], settings: Sequence[Setting], features: LayerFeatures
    ) -> Answers:
        """Yields the phones of every utterance, joined by spaces."""
        lessons = Lessons.of(fold, split, episodes, features)
        for episode, examples in lessons.chosen.items():
            strings = [[item.label.split()] for item in examples]
            frames = [lessons.known[item.id] for item in examples]
            units = random_units(strings, frames[0].shape[1], episode.draw) if self.random else fitted(frames, strings)
            scores = {item.id: units.scores(lessons.asked[item.id]) for item in split.items}
            for setting in settings:
                found = {key: unit_loop(rows, setting["penalty"]).tolist() for key, rows in scores.items()}
                yield episode, setting, _predictions(fold.name, split, units.names, found)


def _predictions(fold: str, split: Split, names: Sequence[str], found: dict[str, list[int]]) -> list[Prediction]:
    texts = {key: " ".join(names[unit] for unit in units if names[unit] != SILENCE) for key, units in found.items()}
    return [
        Prediction(id=item.id, fold=fold, group=item.group, reference=item.label, prediction=texts[item.id])
        for item in split.items
    ]


FEW_SHOT = FewShot(
    question="Which phones are spoken?",
    counted="minutes of transcribed speech",
    shots=(1, 2, 5, 10, "all"),
    answer=Recogniser(),
    floor=lambda fold: 100.0,
    settings=({"penalty": 8.0},),
    further=further,
    available=available,
    controls={"random centroids": Recogniser(random=True)},
)
