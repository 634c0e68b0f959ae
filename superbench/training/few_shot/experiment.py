"""A few-shot experiment: choose the hidden state and the settings on dev, for every number of examples, then answer test.

The receipts are those of a sweep: every setting that was tried, with its dev score averaged over draws and folds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import torch

from superbench.contract import Episode, Fold, Prediction, Score, Setting, Shots, Split, Task
from superbench.contract.few_shot import Answer, Answers, FewShot
from superbench.errors import BadCorpus, CommandError, Undefined
from superbench.features.extraction import Extraction
from superbench.results.draws import Drawn, by_episode, intervals_over_draws, mean_score
from superbench.results.shots import SCARCEST
from superbench.system.progress import Reporter
from superbench.training.few_shot.classification import classification, is_classification
from superbench.training.few_shot.episodes import episodes
from superbench.training.few_shot.layers import Means
from superbench.training.outcome import Outcome

VERSION = 2
"""Raised by a change that moves scores, so that earlier results run again. 2: each number of examples is answered by the hidden
state that it chose, also where these are no neighbours."""
Choice = tuple[int, str]
"""A hidden state, and a setting as text."""


@dataclass(frozen=True, slots=True)
class FewShotConditions:
    """The conditions of an experiment: task, numbers of examples (None: those of the task), draws, hidden states."""

    task: Task
    shots: tuple[Shots, ...] | None
    draws: int
    layers: Sequence[int]
    reporter: Reporter


@dataclass(slots=True)
class _Trial:
    """A setting that was tried for one K: dev scores by fold, one for each draw."""

    layer: int
    setting: Setting
    dev: dict[str, list[float]] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The dev score, averaged over draws, then over folds."""
        return mean(mean(values) for values in self.dev.values())

    @property
    def facts(self) -> dict[str, Any]:
        """The setting as it is recorded."""
        return {"layer": self.layer, **self.setting}


def few_shot_of(task: Task, folds: Sequence[Fold]) -> FewShot:
    """Returns how a task is put without a gradient; raises `CommandError` for a task that does not say it."""
    if task.few_shot is not None:
        return task.few_shot
    if is_classification(task, folds):
        return classification(task)
    raise CommandError(
        f"{task.card.name} does not say how it is put without a gradient, and it is no classification task (a label for each "
        'item, scored by accuracy). Its plugin has to set Task.few_shot; see the documentation, "Add a task".'
    )


def shots_of(task: Task, method: FewShot, asked: Sequence[Shots] | None) -> list[Shots]:
    """Returns the numbers of examples that the task has, ascending, `all` last; raises `Undefined` if it has none."""
    if asked is None:
        return list(method.shots)
    numbers = any(isinstance(k, int) and k > 0 for k in method.shots)
    kept = [k for k in dict.fromkeys(asked) if (numbers if isinstance(k, int) and k > 0 else k in method.shots)]
    if not kept:
        raise Undefined(
            f"--shots {','.join(map(str, asked))}: {task.card.name} has none of these. "
            f"It has {', '.join(map(str, method.shots))}."
        )
    return sorted(kept, key=lambda k: math.inf if k == "all" else k)


@torch.inference_mode()
def few_shot_experiment(conditions: FewShotConditions, folds: Sequence[Fold], extraction: Extraction) -> Outcome:
    """Returns the outcome; its scores are those of the largest K. Raises `CommandError`, `BadCorpus`."""
    began = time.perf_counter()
    method = few_shot_of(conditions.task, folds)
    shots = shots_of(conditions.task, method, conditions.shots)
    experiment = _Experiment(conditions, method, folds, extraction, episodes(shots, conditions.draws))
    trials = experiment.choose()
    outcome = Outcome(notes=_notes(method, shots, folds))
    best = {k: experiment.best(of_k) for k, of_k in trials.items()}
    outcome.sweep = [_receipt(fold, k, trial) for k, of_k in trials.items() for trial in of_k for fold in trial.dev]
    outcome.chosen = {str(k): {"lr": None, "seed": None, "step": 0, "setting": trial.facts} for k, trial in best.items()}
    outcome.predictions = experiment.test(best, method.answer)
    for fold in folds:
        outcome.facts |= fold.test.facts
    _score(conditions.task, method, folds, best, outcome)
    for name, control in method.controls.items():
        scores = _primary(conditions.task, experiment.test(best, control), outcome)
        for entry in outcome.shots:
            entry["controls"][name] = mean_score(scores[entry["k"]]).value
    outcome.evaluate_seconds = time.perf_counter() - began
    return outcome


class _Experiment:
    """The two passes over hidden states: dev for every setting, test for the chosen ones."""

    def __init__(
        self, conditions: FewShotConditions, method: FewShot, folds: Sequence[Fold], extraction: Extraction,
        every: Sequence[Episode],
    ) -> None:  # fmt: skip
        self.conditions, self.method, self.episodes = conditions, method, every
        self.folds = [method.develop(fold) if method.develop else fold for fold in folds]
        self.means = Means(extraction, conditions.layers, self.folds)
        self.higher = True
        if lacking := [fold.name for fold in self.folds if not fold.dev.items]:
            raise BadCorpus(
                f"{conditions.task.card.name}: the fold {lacking[0]} has no dev split, on which the hidden state is chosen."
            )

    def choose(self) -> dict[Shots, list[_Trial]]:
        """Returns all settings that were tried, by K."""
        tried: dict[Shots, dict[Choice, _Trial]] = {episode.shots: {} for episode in self.episodes}
        for fold in self.folds:
            self._try(fold, self.episodes, self.conditions.layers, self.method.settings, tried)
        for k, of_k in tried.items():
            first = self.best(list(of_k.values()))
            further = self.method.further(k, first.setting)
            same = [episode for episode in self.episodes if episode.shots == k]
            for fold in self.folds if further else ():
                self._try(fold, same, [first.layer], further, tried)
        return {k: list(of_k.values()) for k, of_k in tried.items()}

    def best(self, trials: Sequence[_Trial]) -> _Trial:
        """Returns the setting with the best dev score; the first of equal ones."""
        return max(trials, key=lambda trial: trial.value if self.higher else -trial.value)

    def _try(
        self, fold: Fold, some: Sequence[Episode], layers: Sequence[int], settings: Sequence[Setting],
        tried: dict[Shots, dict[Choice, _Trial]],
    ) -> None:  # fmt: skip
        asked = {layer: [(some, settings)] for layer in layers}
        for layer, answers in self._answers(self.method.answer, fold, fold.dev, asked):
            for episode, setting, predictions in answers:
                score = self._score(predictions, fold.dev)
                self.higher = score.higher_is_better
                trial = tried[episode.shots].setdefault((layer, repr(setting)), _Trial(layer, setting))
                trial.dev.setdefault(fold.name, []).append(score.value)

    def test(self, best: Mapping[Shots, _Trial], answer: Answer) -> list[Prediction]:
        """Returns the test predictions of every episode under the setting that was chosen for its K."""
        asked: dict[int, list[tuple[Sequence[Episode], Sequence[Setting]]]] = {}
        for k, trial in best.items():
            of_k = [episode for episode in self.episodes if episode.shots == k]
            asked.setdefault(trial.layer, []).append((of_k, [trial.setting]))
        return [
            _numbered(prediction, episode)
            for fold in self.folds
            for _, answers in self._answers(answer, fold, fold.test, dict(sorted(asked.items())))
            for episode, _, predictions in answers
            for prediction in predictions
        ]

    def _answers(
        self, answer: Answer, fold: Fold, split: Split,
        asked: Mapping[int, Sequence[tuple[Sequence[Episode], Sequence[Setting]]]],
    ) -> Iterator[tuple[int, Answers]]:  # fmt: skip
        """Yields hidden states with the answers to what is asked of each."""
        read = len(fold.train.items) + len(split.items)
        done = 0
        for block in self.means.blocks(list(asked), read):
            for features in block:
                for some, settings in asked[features.layer]:
                    yield features.layer, answer(fold, split, some, settings, features)
                done += 1
                self.conditions.reporter.advance(f"few-shot {split.name}", done, len(asked))

    def _score(self, predictions: Sequence[Prediction], split: Split) -> Score:
        task = self.conditions.task
        return task.score(predictions, split.facts)[task.card.primary]


def _numbered(one: Prediction, episode: Episode) -> Prediction:
    """Returns a prediction with the K and the draw of its episode, in half the time of `dataclasses.replace`."""
    if one.k is not None:
        return one
    return Prediction(
        id=one.id, fold=one.fold, group=one.group, reference=one.reference, prediction=one.prediction, also=one.also,
        k=episode.shots, draw=episode.draw,
    )  # fmt: skip


def _receipt(fold: str, k: Shots, trial: _Trial) -> dict[str, Any]:
    setting = {"k": k, **trial.facts}
    return {"fold": fold, "lr": None, "seed": None, "dev": mean(trial.dev[fold]), "steps": 0, "setting": setting}


def _notes(method: FewShot, shots: Sequence[Shots], folds: Sequence[Fold]) -> list[str]:
    notes = [f"weak method: {method.weak}"] if method.weak else []
    notes += dict.fromkeys(remark for fold in folds for remark in method.remarks(fold))
    fewest = min(method.available(fold) for fold in folds) if method.available else math.inf
    return notes + [
        f"K = {k} {method.counted}: {SCARCEST} {fewest:g}, and all of them were used"
        for k in shots
        if isinstance(k, int) and k > fewest
    ]


def _score(task: Task, method: FewShot, folds: Sequence[Fold], best: Mapping[Shots, _Trial], outcome: Outcome) -> None:
    """Scores every K, and all metrics of the largest."""
    floor = mean(method.floor(fold) for fold in folds)
    scored = {
        k: [(rows, task.score(rows, outcome.facts)) for rows in draws] for k, draws in by_episode(outcome.predictions).items()
    }
    primary = {k: [(rows, scores[task.card.primary]) for rows, scores in draws] for k, draws in scored.items()}
    for (k, draws), (low, high, _) in zip(primary.items(), intervals_over_draws(list(primary.values())), strict=True):
        outcome.shots.append(
            {
                "k": k, "draws": len(draws), "setting": best[k].facts, "score": mean_score(draws).value,  # type: ignore[index]
                "ci": [low, high] if math.isfinite(low) and math.isfinite(high) else None, "floor": floor, "controls": {},
            }
        )  # fmt: skip
    largest = list(scored.values())[-1]
    outcome.drawn = {metric: [(rows, scores[metric]) for rows, scores in largest] for metric in largest[0][1]}
    outcome.scores = {metric: mean_score(drawn) for metric, drawn in outcome.drawn.items()}


def _primary(task: Task, predictions: Sequence[Prediction], outcome: Outcome) -> dict[int | str, Drawn]:
    """Returns the primary score of every draw, by K."""
    return {
        k: [(rows, task.score(rows, outcome.facts)[task.card.primary]) for rows in draws]
        for k, draws in by_episode(predictions).items()
    }
