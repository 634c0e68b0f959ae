"""Checks with the receipts of a sweep that learning rate, seed and settings were chosen as the protocol allows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from superbench.contract import Task
from superbench.results import Result
from superbench.results.result import Receipt
from superbench.system.ranges import in_full

RATES, SEEDS = "learning rates", "seeds"
"""First words of the deviations that replace the recipe's learning rates, and its one seed (`options.Options.deviations`)."""

LAYER = "hidden state"
"""First words of the deviation that replaces all hidden states by one or some."""
STEPS = re.compile(r"at most (\d{1,12}) updates")
"""The deviation that replaces the number of updates."""

Choice = tuple[float | None, int | None, str]
"""Learning rate, seed, and the setting if the sweep has a row for each setting."""


def reasons(result: Result, task: Task, folds: Sequence[str]) -> list[str]:
    """Returns why the choices of a result cannot be accepted, one sentence each. `folds` are the folds of its predictions."""
    recipe = task.card.recipes.get(result.task.protocol)
    if recipe is None:
        return [f"the task has no protocol {result.task.protocol}; it has {', '.join(task.card.recipes)}"]
    if set(result.chosen) != set(folds) or {row.fold for row in result.sweep} != set(folds):
        return [f"its sweep, choices and predictions must have the same folds ({', '.join(sorted(folds))})"]
    problems = []
    rates = {row.lr for row in result.sweep}
    expected: set[float | None] = set(recipe.learning_rates) if task.head else {None}
    if rates != expected and not any(deviation.startswith(RATES) for deviation in result.deviations):
        problems.append(
            f"its sweep has the learning rates {_rates(rates)}, the recipe has {_rates(expected)}; no deviation lists them: "
            "a learning rate without a receipt may have been chosen on the test"
        )
    problems += _seeds(result, {0} if task.head else {None})
    most = max([recipe.steps, *(int(told[1]) for line in result.deviations if (told := STEPS.fullmatch(line)))])
    if any(row.steps > most for row in result.sweep):
        problems.append(f"it was trained for more than the {most} updates of protocol {result.task.protocol}")
    return problems + _chosen(result, task, folds)


def _seeds(result: Result, expected: set[int | None]) -> list[str]:
    """Requires the recipe's seed, perhaps with others beside it, or the seeds that a deviation lists; each with every learning
    rate of every fold. The point is chosen among those of the lowest seed (`_chosen`), so higher ones choose nothing."""
    used = {row.seed for row in result.sweep}
    words = ", ".join(map(str, sorted(used, key=lambda seed: -1 if seed is None else seed)))
    fewest = used if expected == {0} and 0 in used and None not in used else expected
    if used != fewest and f"{SEEDS} {words} in place of 0" not in {_sorted(line) for line in result.deviations}:
        return [
            f"its sweep has the seeds {words:.200}, the recipe has {', '.join(map(str, expected))}, and no deviation lists "
            "them: a seed without a receipt may have been chosen on the test"
        ]
    points = [{(row.fold, row.lr) for row in result.sweep if row.seed == seed} for seed in used]
    return [] if all(point == points[0] for point in points) else ["its seeds were not all tried with the same learning rates"]


def _sorted(deviation: str) -> str:
    """Sorts the seeds in a deviation, because a sweep does not keep their order."""
    listed = re.fullmatch(rf"{SEEDS} ([\d, ]+) in place of 0", deviation)
    seeds = sorted(int(number) for number in listed[1].split(",") if number.strip()) if listed else []
    return f"{SEEDS} {', '.join(map(str, seeds))} in place of 0" if listed else deviation


def _rates(rates: set[float | None]) -> str:
    return ", ".join("none" if rate is None else in_full(rate) for rate in sorted(rates, key=lambda rate: rate or 0.0))


def _chosen(result: Result, task: Task, folds: Sequence[str]) -> list[str]:
    """Requires that the chosen point has the best value, averaged over folds, among the points of the lowest seed."""
    listed = task.head is None or task.select.checkpoints
    by_choice: dict[Choice, dict[str, float]] = {}
    for row in result.sweep:
        values = by_choice.setdefault(_choice(row.model_dump(), listed), {})
        if row.fold in values:
            return [f"its sweep has two receipts for {_words(row)}"]
        values[row.fold] = math.nan if row.dev is None else row.dev
    sign = 1.0 if task.select.higher_is_better else -1.0
    lowest = min((choice[1] for choice in by_choice if choice[1] is not None), default=None)
    means = {
        choice: sum(values.values()) / len(folds)
        for choice, values in by_choice.items()
        if choice[1] == lowest and len(values) == len(folds) and not any(map(math.isnan, values.values()))
    }
    if not means:
        return ["its sweep has no receipt with a value"]
    best = max(sign * value for value in means.values())
    where = "the test, as the protocol requires," if task.select.checkpoints else "dev"
    for fold in sorted(folds):
        value = means.get(_choice(result.chosen[fold], listed))
        if value is None:
            return [f"what was chosen for fold {fold} has no receipt in its sweep"]
        if not math.isclose(sign * value, best, rel_tol=1e-9, abs_tol=1e-12):
            return [
                f"it was not chosen on {where}: the best {task.select.metric} in the sweep was {sign * best:.4f}, "
                f"the chosen point has {value:.4f}"
            ]
    return []


def _choice(row: Mapping[str, Any], listed: bool) -> Choice:
    """`listed`: whether the sweep has a row for each setting (layers of QbE, checkpoints of ASV)."""
    setting = row.get("setting") or {}
    words = " ".join(f"{key}={setting[key]}" for key in sorted(setting)) if listed and isinstance(setting, dict) else ""
    return row.get("lr"), row.get("seed"), words


def _words(row: Receipt) -> str:
    return f"fold {row.fold}, learning rate {row.lr}, seed {row.seed}"


# ---------------------------------------------------------------- protocols that train nothing


def reasons_at_k(result: Result, task: Task, folds: Sequence[str]) -> list[str]:
    """Returns why the settings that were chosen for each K cannot be accepted, one sentence each.

    In context, the rule that ranks the candidates is fixed in advance, so there may be nothing to choose."""
    listed = {str(entry.k): entry.setting for entry in result.shots or ()}
    if result.chosen.keys() != listed.keys():
        return [f"it has choices for K = {', '.join(result.chosen):.200}, and scores for K = {', '.join(listed)}"]
    differing = [k for k, setting in listed.items() if setting != (result.chosen[k].get("setting") or {})]
    if differing:
        return [f"the setting of its score at K = {differing[0]} is not the one that it chose"]
    if not result.sweep and result.task.protocol == "in-context":
        return []
    if any((row.lr, row.seed, row.steps) != (None, None, 0) for row in result.sweep):
        return [f"its sweep has learning rates, seeds or updates, but protocol {result.task.protocol} trains nothing"]
    by_k: dict[str, dict[str, dict[str, float]]] = {k: {} for k in listed}
    for row in result.sweep:
        k, setting = str(row.setting.get("k")), {key: value for key, value in row.setting.items() if key != "k"}
        if k not in by_k:
            return [f"its sweep has a receipt for K = {k:.20}, which has no score"]
        values = by_k[k].setdefault(_setting(setting), {})
        if row.fold in values:
            return [f"its sweep has two receipts for K = {k}, {_setting(setting):.200}"]
        values[row.fold] = math.nan if row.dev is None else row.dev
    sign = 1.0 if result.scores[result.primary].higher_is_better else -1.0
    problems = _layers(result)
    for k, setting in listed.items():
        problems += _chosen_at(k, _setting(setting), by_k[k], folds, sign, result.primary)
    return problems


def _setting(setting: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={setting[key]}" for key in sorted(setting))


def _layers(result: Result) -> list[str]:
    """Requires receipts of the same hidden states for every K: of all, or of those that a deviation names."""
    tried: dict[Any, set[Any]] = {}
    for row in result.sweep:
        if "layer" not in row.setting:
            return [f"its sweep at K = {row.setting.get('k')} has a receipt whose setting names no layer (hidden state)"]
        tried.setdefault(row.setting.get("k"), set()).add(row.setting["layer"])
    every = set(range(result.upstream.layers))
    told = [set(map(int, re.findall(r"\d+", deviation))) for deviation in result.deviations if deviation.startswith(LAYER)]
    short = [k for k, layers in tried.items() if layers != (told[0] if told else every)]
    return [
        f"its sweep at K = {k} has receipts of {len(tried[k])} of {len(every)} hidden states: one without a receipt may have "
        "been chosen on the test"
        for k in short[:1]
    ]


def _chosen_at(
    k: str, chosen: str, tried: Mapping[str, Mapping[str, float]], folds: Sequence[str], sign: float, metric: str
) -> list[str]:
    """Requires that the chosen setting of a K has the best dev value, averaged over folds, among its receipts."""
    if any(set(values) != set(folds) for values in tried.values()):
        return [f"its sweep at K = {k} and its predictions must have the same folds ({', '.join(sorted(folds))})"]
    means = {setting: sign * sum(values.values()) / len(folds) for setting, values in tried.items()}
    known = {setting: value for setting, value in means.items() if not math.isnan(value)}
    if chosen not in known:
        return [f"what was chosen at K = {k} has no receipt with a value in its sweep"]
    best = max(known.values())
    if math.isclose(known[chosen], best, rel_tol=1e-9, abs_tol=1e-12):
        return []
    return [
        f"at K = {k} it was not chosen on dev: the best {metric} of its receipts was {sign * best:.4f}, the chosen setting "
        f"has {sign * known[chosen]:.4f}"
    ]
