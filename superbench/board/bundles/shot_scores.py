"""Scores a result of a protocol that trains nothing again: every draw of every K, their mean, interval and floor.

The claim for K is the mean over its draws. Therefore every draw must answer every test item: a draw or an item that is left out
may have been left out for its score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from superbench.board.bundles.answers import scored
from superbench.contract import Prediction, Score, Task
from superbench.errors import Refusal
from superbench.results import Result
from superbench.results.draws import DRAWS, Drawn, by_episode, interval_from, mean_score, paired_replicates, replicates_of
from superbench.results.intervals import Replicates
from superbench.results.result import ShotFacts
from superbench.results.shots import OTHER_RULES, at_k, controls_of, in_words

Close = Callable[[float, float], bool]
Episodes = Mapping[int | str, Sequence[Sequence[Prediction]]]
"""K (a number, or `all`) -> the predictions of each draw."""
FLOORS = {"eer": 50.0, "mtwv": 0.0}
"""Scores of an answer that ignores the sound, of metrics for which they do not depend on the data."""
MOST_FLOOR = 200.0
"""An error rate of an answer that ignores the sound, in percent, is at most so large; it is at least 1: such an answer is not
perfect."""
MOST_CLASSES = 1_000_000


def episodes_of(result: Result, predictions: Sequence[Prediction]) -> Episodes:
    """Returns the predictions by K and draw. Raises `Refusal` if their K and draws are not those that the result lists."""
    drawn = by_episode(predictions)
    if sum(len(draw) for draws in drawn.values() for draw in draws) != len(predictions):
        raise Refusal("some of its predictions have no k", "shots")
    listed: dict[int | str, int] = {entry.k: entry.draws for entry in result.shots or ()}
    if drawn.keys() != listed.keys():
        raise Refusal(f"its predictions are of {_listed(drawn)}; its result lists {_listed(listed)}", "shots")
    numbers = {k: sorted({prediction.draw for prediction in predictions if prediction.k == k}) for k in drawn}  # type: ignore[type-var]
    for k, found in numbers.items():
        if found != list(range(listed[k])):
            raise Refusal(
                f"its predictions at {in_words(k)} have {len(found)} draws; its result lists {listed[k]}, numbered from 0",
                "shots",
            )
    return drawn


def _listed(shots: Mapping[int | str, object]) -> str:
    return ", ".join(map(in_words, shots)) or "no K"


def number_of_draws(result: Result) -> list[str]:
    """Returns why the numbers of draws cannot be accepted. K = 0 and `all` leave no choice of examples, so `few-shot` has one
    draw of them; in context, the order of the labels is drawn too."""
    problems = []
    for entry in result.shots or ():
        told = any(line.startswith(f"{entry.draws} draws of the examples") for line in result.deviations)
        if entry.k in (0, "all"):
            expected, right = 1, entry.draws == 1 or result.task.protocol != "few-shot"
        else:
            expected, right = DRAWS, entry.draws >= DRAWS or told
        if not right:
            problems.append(
                f"it has {entry.draws} draws at {in_words(entry.k)} in place of {expected}, which no deviation says"
            )
    return problems


@dataclass(frozen=True)
class Rescored:
    """The scores of every draw and the replicates of their mean, by name: all metrics of the largest K (`accuracy`), and the
    primary one of every K (`accuracy@5`). `scores` are the mean scores of the largest K."""

    drawn: Mapping[str, Drawn]
    replicates: Mapping[str, Replicates]
    scores: Mapping[str, Score]

    @classmethod
    def of(cls, task: Task, episodes: Episodes, facts: Mapping[str, float]) -> Rescored:
        """Scores every draw; the items of all draws are in the same order. All means share one set of resamples."""
        primary, largest, drawn = task.card.primary, list(episodes)[-1], dict[str, Drawn]()
        for k, draws in episodes.items():
            by_draw = [(predictions, scored(task, predictions, facts)) for predictions in draws]
            metrics = list(by_draw[0][1]) if k == largest else [primary]
            by_metric = {metric: [(rows, scores[metric]) for rows, scores in by_draw] for metric in metrics}
            drawn |= by_metric if k == largest else {at_k(primary, k): by_metric[primary]}
        scores = {metric: mean_score(drawn[metric]) for metric in metrics}
        replicates = dict(zip(drawn, replicates_of(list(drawn.values())), strict=True))
        same = at_k(primary, largest)
        return cls(drawn | {same: drawn[primary]}, replicates | {same: replicates[primary]}, scores)

    def paired(self) -> dict[str, Replicates]:
        """Returns replicates for paired tests."""
        return {name: paired_replicates(drawn, self.replicates[name]) for name, drawn in self.drawn.items()}

    def interval(self, name: str) -> tuple[float, float, str]:
        """Returns (low, high, method) of a mean."""
        return interval_from(self.drawn[name], self.replicates[name])


def claims_at_k(result: Result, rescored: Rescored, close: Close) -> list[str]:
    """Returns which scores and intervals of a K differ from those that the predictions give."""
    problems = []
    for entry in result.shots or ():
        name = at_k(result.primary, entry.k)
        value, (low, high, _) = mean_score(rescored.drawn[name]).value, rescored.interval(name)
        if not close(value, entry.score):
            problems.append(
                f"{result.primary} at {in_words(entry.k)} computed from its predictions is {value:.4f}; "
                f"the result claims {entry.score:.4f}"
            )
        problems += interval_claim(f"at {in_words(entry.k)}", entry.ci, (low, high), close)
    return problems


def interval_claim(where: str, claimed: tuple[float, float] | None, given: tuple[float, float], close: Close) -> list[str]:
    """Returns why a claimed interval cannot be accepted. Null is right only if the predictions give none (a single group)."""
    exists = all(math.isfinite(end) for end in given)
    if (not exists and claimed is None) or (exists and claimed is not None and all(map(close, given, claimed))):
        return []
    found = " (the result has none)" if claimed is None else ""
    return [f"the interval {where} differs from the one that its predictions give{found}"]


def intervals_of_largest(result: Result, rescored: Rescored, close: Close) -> list[str]:
    """Returns which intervals of `scores`, those of the largest K, differ from those that the predictions give."""
    problems = []
    for metric in rescored.scores:
        low, high, method = rescored.interval(metric)
        claimed = result.scores[metric]
        problems += interval_claim(f"of {metric}", claimed.ci, (low, high), close)
        if claimed.ci_method not in (None, method):
            problems.append(f"the interval of {metric} is computed by {method!r}; the result claims {claimed.ci_method!r:.200}")
    return problems


# ---------------------------------------------------------------- controls and floors


def controls(result: Result, task: Task) -> list[str]:
    """Returns which controls are missing, are not those of the protocol and the task, or cannot be scores. They are not scored
    again: the bundle does not contain their predictions. In context, `no sound` decides whether a row has a place."""
    own = list(task.few_shot.controls) if task.few_shot and result.task.protocol == "few-shot" else []
    further = OTHER_RULES if result.task.protocol == "in-context" else ()
    for entry in result.shots or ():
        always = [*controls_of(result.task.protocol, entry.k), *own]
        if missing := [name for name in always if name not in entry.controls]:
            listed = ", ".join(f"`{name}`" for name in missing)
            return [f"it lacks the control {listed} at {in_words(entry.k)}, which {result.task.protocol} always runs"]
        if unknown := sorted(entry.controls.keys() - {*always, *further}):
            expected = ", ".join([*always, *further]) or "none"
            return [f"its controls at {in_words(entry.k)} contain {unknown[0]!r:.100}; those of the task are {expected}"]
        for name, value in entry.controls.items():
            if not _is_score(value, result):
                return [f"its control {name!r} at {in_words(entry.k)} is {value:g}, which {result.primary} cannot be"]
    return []


def _is_score(value: float, result: Result) -> bool:
    """Returns whether the primary metric can have this value. Fractions (MTWV) have no lower bound, error rates no upper."""
    facts = result.scores[result.primary]
    lowest = 0.0 if facts.unit == "%" else -math.inf
    return lowest <= value <= ((100.0 if facts.unit == "%" else 1.0) if facts.higher_is_better else math.inf)


def floors(result: Result, labels: Sequence[Prediction], close: Close) -> list[str]:
    """Returns why floors are not plausible. `labels` are the predictions of one draw, with the references that are used.

    The floor of an accuracy is 100 over the number of classes of the training split: as the passport counts them, else any
    number from that of the classes of the test split upward.
    """
    told = {entry.floor for entry in result.shots or ()}
    if len(told) > 1 and result.task.protocol == "few-shot":
        return [f"its floor differs between its K ({', '.join(f'{floor:.4f}' for floor in sorted(told))})"]
    return [line for entry in result.shots or () for line in _implausible(result, entry, labels, close)][:1]


def _implausible(result: Result, entry: ShotFacts, labels: Sequence[Prediction], close: Close) -> list[str]:
    floor, name = entry.floor, result.primary
    if name in FLOORS:
        expected = f"{FLOORS[name]:g}" if not close(floor, FLOORS[name]) else ""
    elif name == "accuracy":
        expected = _of_accuracy(result, floor, labels, close)
    else:
        facts = result.scores[name]
        best = 100 if facts.unit == "%" else 1
        fits = 0 <= floor < best if facts.higher_is_better else best / 100 <= floor < MOST_FLOOR / 100 * best
        expected = "" if fits else "a score that an answer without the sound can have"
    return [f"its floor is {floor:.4f}; expected {expected}"] if expected else []


def _of_accuracy(result: Result, floor: float, labels: Sequence[Prediction], close: Close) -> str:
    """Returns what an accuracy's floor should be; empty if it is plausible."""
    counted = [classes for fold in _folds(labels) if (classes := _classes_of_train(result, fold))]
    if counted:
        expected = sum(100 / classes for classes in counted) / len(counted)
        return "" if close(floor, expected) else f"{expected:.4f}, one of the classes of the training split"
    tested = max(len({str(item.reference) for item in labels if item.fold == fold}) for fold in _folds(labels))
    if 100 / MOST_CLASSES <= floor <= 100 / tested * (1 + 1e-9) and abs(100 / floor - round(100 / floor)) < 1e-6:
        return ""
    return f"100 over a number of classes, of which the test has {tested}"


def _folds(labels: Sequence[Prediction]) -> list[str]:
    return sorted({item.fold for item in labels})


def _classes_of_train(result: Result, fold: str) -> int:
    """Returns the number of classes of a training split, as the passport counts them; 0 if it does not."""
    prefix = "train/" if fold == "all" else f"{fold}/train/"
    return sum(key.startswith(prefix) for key in result.data.passport.counts)
