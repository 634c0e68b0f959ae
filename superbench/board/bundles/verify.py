"""Verifies results: computes every score again from the predictions, matched by id, and compares it with the claimed score.

The references are the board's own if it has them, else those in the bundle; results with different references are not compared
with each other. The check also returns evidence to store: the replicates for intervals and paired tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from superbench.board.bundles import shot_scores, sweep_rules
from superbench.board.bundles.answers import require_bounded, require_complete, require_types, scored
from superbench.board.bundles.bundle import PREDICTIONS, Bundle, Entry
from superbench.board.bundles.evidence import Evidence
from superbench.board.bundles.references import SAMPLE, References, digest, facts_of, is_sampled, predicted
from superbench.contract import Prediction, Score, Task
from superbench.errors import Malformed, Refusal, StoreError, SuperbenchError, TooLarge
from superbench.results import Result
from superbench.results.consistency import contradictions, self_contradictions
from superbench.results.intervals import Replicates, interval_of, replicates
from superbench.results.item_errors import item_errors
from superbench.results.own import task_of
from superbench.results.result import Choice, is_miniature

TOLERANCE = 1e-6
"""Relative tolerance. Scores are sums of small integers, so only the order of additions can change them."""

MOST_SAID = 5
"""The most contradictions of one passport that a refusal lists."""

KEEPER = " (the board's keeper can add references: superbench references BOARD --add RESULTS)"

Known = Callable[[str, str], "References | None"]
"""(task, fingerprint) -> the board's own references, or None; raises `Refusal` if the board has references of the task for
other data only."""


def nothing_known(task: str, fingerprint: str) -> None:
    """Returns None, as on a board without references."""
    return


def examine(bundle: Bundle, known: Known = nothing_known) -> dict[str, Evidence]:
    """Returns the evidence for each entry of a bundle; raises `Refusal` with all reasons why it cannot be accepted."""
    problems: list[tuple[str, str]] = _one_model(bundle)
    evidence = {}
    for name, entry in bundle.entries.items():
        try:
            evidence[name] = examine_entry(entry, known)
        except (Malformed, TooLarge, StoreError):  # `StoreError` is a fault of the board, not of the bundle
            raise
        except Refusal as error:
            problems.append((error.code, f"{name}: {error}"))
        except SuperbenchError as error:
            problems.append(("task", f"{name}: {error}"))
    if problems:
        codes = {code for code, _ in problems}
        text = "; ".join(reason for _, reason in problems) + (KEEPER if "references" in codes else "")
        raise Refusal(text, codes.pop() if len(codes) == 1 else "several")
    return evidence


def reasons(bundle: Bundle, known: Known = nothing_known) -> list[str]:
    """Returns why a bundle cannot be accepted, one sentence each; empty if it can."""
    try:
        examine(bundle, known)
    except Refusal as error:
        return str(error).split("; ")
    return []


def _one_model(bundle: Bundle) -> list[tuple[str, str]]:
    """Requires that all results of a bundle have the same weights: a row of a board is one model."""
    for part in ("revision", "hop", "layers", "dim", "params"):
        values = {getattr(entry.result.upstream, part) for entry in bundle.entries.values()}
        if len(values) > 1:
            listed = ", ".join(sorted(map(str, values)))
            return [("mixed", f"its results are from models that differ in {part} ({listed}); give each model its own name")]
    return []


def examine_entry(entry: Entry, known: Known) -> Evidence:
    """Scores one result again. Raises `Refusal` with the scores and choices that are not confirmed."""
    result = entry.result
    task = task_of(result)
    if result.task.version != task.card.version:
        raise Refusal(
            f"made with version {result.task.version} of the task; this board scores version {task.card.version}", "version"
        )
    if result.primary != task.card.primary or result.primary not in result.scores:
        raise Refusal(
            f"its primary metric is {result.primary!r:.100}, and it reports {', '.join(sorted(result.scores)):.200}; "
            f"the primary metric of the task is {task.card.primary!r}",
            "score",
        )
    references = known(result.task.name, result.data.fingerprint)
    return (_trained if result.shots is None else _untrained)(entry, task, references)


def _trained(entry: Entry, task: Task, references: References | None) -> Evidence:
    result = entry.result
    predictions, facts, own = _labelled(entry, task, entry.predictions, references)
    labels = digest(predictions, facts)
    if problems := contradictions(result, predictions) + self_contradictions(result):
        raise Refusal("; ".join(problems[:MOST_SAID]), "passport")
    scores = scored(task, predictions, facts)
    if problems := _claims(result, scores):
        raise Refusal("; ".join(problems), "score")
    try:
        drawn = {metric: replicates(predictions, score) for metric, score in scores.items()}
        errors = np.empty(0) if own else _errors(predictions, scores[result.primary])
    except SuperbenchError:
        raise
    except Exception as error:  # untrusted predictions can make a scorer fail in any way
        raise Refusal(f"its predictions cannot be scored ({type(error).__name__}: {error!s:.200})", "predictions") from error
    if problems := _intervals(result, scores, drawn):
        raise Refusal("; ".join(problems), "score")
    folds = sorted({prediction.fold for prediction in predictions})
    if problems := sweep_rules.reasons(result, task, folds) + _test_choice(result, task, scores):
        raise Refusal("; ".join(problems), "learning_rate")
    return Evidence(replicates=drawn, labels=labels, own=own, errors=errors, predicted=predicted(entry.predictions))


def _untrained(entry: Entry, task: Task, references: References | None) -> Evidence:
    """Scores every draw of every K again. There are no errors by item: the draws differ in their errors."""
    result = entry.result
    if problems := shot_scores.number_of_draws(result) + shot_scores.controls(result, task):
        raise Refusal("; ".join(problems), "shots")
    episodes, facts, own = _labelled_episodes(entry, task, references)
    labels = next(iter(episodes.values()))[0]
    if problems := ([] if is_sampled(result) else contradictions(result, labels)) + self_contradictions(result):
        raise Refusal("; ".join(problems[:MOST_SAID]), "passport")
    try:
        rescored = shot_scores.Rescored.of(task, episodes, facts)
        problems = _claims(result, dict(rescored.scores)) or shot_scores.claims_at_k(result, rescored, _close)
        problems += shot_scores.floors(result, labels, _close)
        drawn = {} if problems else rescored.paired()
    except SuperbenchError:
        raise
    except Exception as error:  # untrusted predictions can make a scorer fail in any way
        raise Refusal(f"its predictions cannot be scored ({type(error).__name__}: {error!s:.200})", "predictions") from error
    if problems := problems or shot_scores.intervals_of_largest(result, rescored, _close):
        raise Refusal("; ".join(problems), "score")
    if problems := sweep_rules.reasons_at_k(result, task, sorted({prediction.fold for prediction in labels})):
        raise Refusal("; ".join(problems), "setting")
    answered = digest(labels, facts)
    if references is not None and is_sampled(result):
        answered = f"{references.digest}{SAMPLE}{answered}"  # other samples of the same test are not compared
    return Evidence(replicates=drawn, labels=answered, own=own, predicted=predicted(entry.predictions))


def _labelled_episodes(
    entry: Entry, task: Task, known: References | None
) -> tuple[shot_scores.Episodes, dict[str, float], bool]:
    """Returns the predictions by K and draw, with the references to use; the facts; and whether both are the board's own."""
    episodes: dict[int | str, list[list[Prediction]]] = {}
    facts, own, first = dict[str, float](), False, list[tuple[Any, ...]]()
    for k, draws in shot_scores.episodes_of(entry.result, entry.predictions).items():
        for number, draw in enumerate(draws):
            labelled, facts, own = _labelled(entry, task, draw, known)
            labelled.sort(key=lambda prediction: (prediction.fold, prediction.id))
            items = [(item.fold, item.id, item.group, item.reference) for item in labelled]
            first = first or items
            if items != first:
                raise Refusal(f"its draws have different test items or references (K = {k}, draw {number})", "shots")
            episodes.setdefault(k, []).append(labelled)
    return episodes, facts, own


def _errors(predictions: Sequence[Prediction], score: Score) -> np.ndarray:
    """Returns the error of each prediction, sorted by (fold, id); an undefined error counts as 0."""
    order = sorted(range(len(predictions)), key=lambda i: (predictions[i].fold, predictions[i].id))
    return np.nan_to_num(item_errors(predictions, score))[order]


# ---------------------------------------------------------------- predictions and references


def _labelled(
    entry: Entry, task: Task, predictions: Sequence[Prediction], known: References | None
) -> tuple[list[Prediction], dict[str, float], bool]:
    """Returns the predictions with the references to use, the facts for the scorer, and whether both are the board's own."""
    result = entry.result
    if result.predictions != PREDICTIONS:
        raise Refusal(f"its predictions are in {result.predictions!r:.100}; expected {PREDICTIONS}", "schema")
    for prediction in predictions:
        require_bounded([prediction.prediction, dict(prediction.also)], prediction.id)
    if known is not None:
        if known.miniature not in (None, is_miniature(result)):
            raise Refusal(
                f"the passport describes the data {result.data.fingerprint} as {_corpora(is_miniature(result))}; this board's "
                f"own references describe them as {_corpora(known.miniature)}",
                "passport",
            )
        labelled = known.applied(predictions, part=is_sampled(result))
        if is_sampled(result):
            require_complete(result, task, labelled)
        require_types(task, labelled)
        return labelled, dict(known.facts), True
    if entry.withheld or any(prediction.reference is None for prediction in predictions):
        raise Refusal(
            f"its references are not in the bundle, and this board has none of its own for the data {result.data.fingerprint}",
            "references",
        )
    ids = {(prediction.fold, prediction.id) for prediction in predictions}
    if not ids or len(ids) != len(predictions):
        raise Refusal("it has no predictions, or two predictions for the same id", "ids")
    require_complete(result, task, predictions)
    facts = facts_of(result)
    for prediction in predictions:
        require_bounded(prediction.reference, prediction.id)
    require_types(task, predictions)
    return list(predictions), facts, False


def _corpora(miniature: bool | None) -> str:
    return "a synthetic miniature" if miniature else "a real corpus"


# ---------------------------------------------------------------- what was claimed


def _claims(result: Result, scores: dict[str, Score]) -> list[str]:
    if set(scores) != set(result.scores):
        return [f"it reports {', '.join(sorted(result.scores)):.200}; the metrics of the task are {', '.join(sorted(scores))}"]
    problems = []
    for metric, score in scores.items():
        claimed = result.scores[metric]
        if not _close(score.value, claimed.value):
            problems.append(
                f"{metric} computed from its predictions is {score.value:.4f}; the result claims {claimed.value:.4f}"
            )
        if (score.unit, score.higher_is_better) != (claimed.unit, claimed.higher_is_better):
            problems.append(f"{metric} is given in {claimed.unit}, or in the wrong direction")
        if dict(score.counts).keys() != claimed.counts.keys() or not all(
            _close(float(count), claimed.counts[name]) for name, count in score.counts.items()
        ):
            problems.append(f"the counts of {metric} differ from those that its predictions give")
    return problems


def _intervals(result: Result, scores: dict[str, Score], drawn: dict[str, Replicates]) -> list[str]:
    problems = []
    for metric, score in scores.items():
        low, high, method = interval_of(drawn[metric], score.value)
        problems += shot_scores.interval_claim(f"of {metric}", result.scores[metric].ci, (low, high), _close)
        if result.scores[metric].ci_method not in (None, method):
            problems.append(
                f"the interval of {metric} is computed by {method!r}; "
                f"the result claims {result.scores[metric].ci_method!r:.200}"
            )
    return problems


def _test_choice(result: Result, task: Task, scores: dict[str, Score]) -> list[str]:
    """Requires that the chosen checkpoint's receipt equals the score if the protocol chooses checkpoints on the test (ASV)."""
    if not task.select.checkpoints:
        return []
    choice = next(iter(result.chosen.values()), Choice())
    picked = [row.dev for row in result.sweep if row.setting == choice.get("setting") and row.lr == choice.get("lr")]
    value = scores[task.card.primary].value
    if any(dev is not None and math.isclose(dev, value, rel_tol=1e-4) for dev in picked):
        return []
    return [f"the receipt of the chosen checkpoint has {picked}, but its predictions give {value:.4f}"]


def _close(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
