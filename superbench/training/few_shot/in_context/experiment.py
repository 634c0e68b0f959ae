"""An in-context experiment: every question of every episode is put to the model, the labels are ranked, and the answers scored.

Nothing is chosen on dev: the rule that ranks is fixed in advance (see `ranking`). Controls are always run (see `asking`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from statistics import mean

from superbench.contract import Episode, Fold, Item, Prediction, Shots, Task
from superbench.errors import CommandError, Undefined
from superbench.results.draws import MOST_ITEMS, by_episode, interval_over_draws, mean_score
from superbench.training.few_shot.classification import is_classification, key_of
from superbench.training.few_shot.episodes import draw_order
from superbench.training.few_shot.experiment import few_shot_of
from superbench.training.few_shot.in_context.asking import Answers, Asking, InContextConditions
from superbench.training.few_shot.in_context.prompts import RENDERINGS, label_orders
from superbench.training.few_shot.in_context.ranking import PMI
from superbench.training.outcome import Outcome

SHOTS: tuple[int, ...] = (0, 1, 5)
MOST_WRONG = 25
"""Of the items that are asked, so many are also asked with wrong labels."""
MOST_EXAMPLES = 40
"""Examples that a prompt holds at most: a larger K is left out."""


def in_context_experiment(conditions: InContextConditions, folds: Sequence[Fold]) -> Outcome:
    """Returns the outcome; its scores are those of the largest K. Raises `Undefined`, `CommandError`,
    `BadUpstream`."""
    began = time.perf_counter()
    task = conditions.task
    if not is_classification(task, folds):
        raise Undefined(
            f"{task.card.name} has no in-context form: only tasks that choose one label for each item have one. Use --protocol "
            "few-shot for it."
        )
    method = few_shot_of(task, folds)
    classes = max(_classes(fold) for fold in folds)
    shots, notes = shots_of(conditions.shots, classes)
    answers: Answers = {}
    for fold in folds:
        asking = Asking(
            conditions=conditions, method=method, fold=fold, items=_asked(fold, len(folds)),
            most_wrong=math.ceil(MOST_WRONG / len(folds)),
        )  # fmt: skip
        for episode in (Episode(k, draw) for k in shots for draw in range(conditions.draws)):
            for name, predictions in asking.answers(episode).items():
                answers.setdefault(name, []).extend(predictions)
    outcome = Outcome(notes=[*notes, *_notes(conditions, folds)])
    outcome.predictions = answers[""]
    for fold in folds:
        outcome.facts |= fold.test.facts
    floor = mean(method.floor(fold) for fold in folds)
    _score(conditions.task, answers, floor, label_orders(classes), outcome)
    outcome.evaluate_seconds = time.perf_counter() - began
    return outcome


def _asked(fold: Fold, folds: int) -> tuple[Item, ...]:
    """Returns the test items of a fold that are asked, in corpus order; folds have equal shares."""
    items = fold.test.items
    order = draw_order(len(items), 0, fold.name, "asked in context")[: math.ceil(MOST_ITEMS / folds)]
    return tuple(items[i] for i in sorted(order))


def shots_of(asked: Sequence[Shots] | None, classes: int) -> tuple[list[int], list[str]]:
    """Returns the numbers of examples of each class that fit into a prompt, and notes on those that do not; raises
    `CommandError` if none is left."""
    if asked is not None and "all" in asked:
        raise CommandError("--shots all: a prompt cannot hold all examples. In context, give numbers, such as --shots 0,1,5.")
    wanted = sorted(k for k in (SHOTS if asked is None else asked) if isinstance(k, int))
    kept = [k for k in wanted if k * classes <= MOST_EXAMPLES]
    left_out = [
        f"K = {k} is left out: {k * classes} examples ({classes} classes), and a prompt holds {MOST_EXAMPLES} at most"
        for k in wanted
        if k not in kept
    ]
    if not kept:
        raise CommandError(f"--shots {','.join(map(str, wanted))}: nothing is left to do. {'; '.join(left_out)}.")
    return kept, left_out


def _classes(fold: Fold) -> int:
    return len({key_of(item) for item in fold.train.items})


def _notes(conditions: InContextConditions, folds: Sequence[Fold]) -> list[str]:
    asked, there = sum(len(_asked(fold, len(folds))) for fold in folds), sum(len(fold.test.items) for fold in folds)
    sounds = f"a label is another sound of its class, and the likelihood is averaged over {RENDERINGS} of them"
    labels = "labels are words" if conditions.model.reads_text else sounds
    return [f"in context: {asked} of {there} items of test were asked, drawn at random (seeded); {labels}"]


def _score(task: Task, answers: Answers, floor: float, orders: int, outcome: Outcome) -> None:
    """Scores every K with its controls, and all metrics of the largest."""
    for k, draws in by_episode(answers[""]).items():
        scored = [(predictions, task.score(predictions, outcome.facts)) for predictions in draws]
        outcome.drawn = {metric: [(rows, scores[metric]) for rows, scores in scored] for metric in scored[0][1]}
        primary = outcome.drawn[task.card.primary]
        low, high, _ = interval_over_draws(primary)
        setting = {"rule": PMI, "label orders": min(orders, len(draws))}
        outcome.chosen[str(k)] = {"lr": None, "seed": None, "step": 0, "setting": setting}
        outcome.shots.append(
            {
                "k": k, "draws": len(draws), "setting": setting, "score": mean_score(primary).value,
                "ci": [low, high] if math.isfinite(low) and math.isfinite(high) else None, "floor": floor,
                "controls": {name: _mean(task, of, k, outcome) for name, of in answers.items() if name and _has(of, k)},
            }
        )  # fmt: skip
    outcome.scores = {metric: mean_score(drawn) for metric, drawn in outcome.drawn.items()}


def _has(predictions: Sequence[Prediction], k: int | str) -> bool:
    return any(prediction.k == k for prediction in predictions)


def _mean(task: Task, predictions: Sequence[Prediction], k: int | str, outcome: Outcome) -> float:
    """Returns the primary score of a control for one K, averaged over draws."""
    return mean(task.score(draw, outcome.facts)[task.card.primary].value for draw in by_episode(predictions)[k])
