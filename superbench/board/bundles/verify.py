"""Is a result what its predictions say? Every score is computed again, by id; no number is believed.

References are the board's own where it has them, else those in the bundle, which bind nobody else: results with other labels
are not compared. What comes of it beside the verdict is kept: the replicates that intervals and paired tests are made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from superbench import plugins
from superbench.board.bundles import sweep_rules
from superbench.board.bundles.bundle import PREDICTIONS, Bundle, Entry
from superbench.board.bundles.evidence import Evidence
from superbench.board.bundles.references import References, digest, facts_of, predicted
from superbench.contract import Prediction, Score, Task
from superbench.errors import Malformed, Refusal, StoreError, SuperbenchError, TooLarge
from superbench.results import Result
from superbench.results.intervals import Replicates, interval_of, replicates
from superbench.results.item_errors import item_errors
from superbench.results.official import contradictions
from superbench.results.result import Choice, is_miniature

TOLERANCE = 1e-6
"""Relative; scores are sums of small whole numbers, so only the order of additions may move them."""

LONGEST = 20_000
"""Characters of a text, or entries of a list, in one prediction: ten times what the longest utterance of SUPERB needs."""

KEEPER = " (the board's keeper can add references: superbench references BOARD --add RESULTS)"

Known = Callable[[str, str], "References | None"]
"""(task, fingerprint) -> the board's own references, or nothing; raises `Refusal` for data that a board with references of the
task does not know."""


def nothing_known(task: str, fingerprint: str) -> None:
    """A board that has no references."""
    return


def examine(bundle: Bundle, known: Known = nothing_known) -> dict[str, Evidence]:
    """The evidence for each task of a bundle; raises `Refusal` with every reason why it cannot be accepted."""
    found: list[tuple[str, str]] = _one_model(bundle)
    evidence = {}
    for name, entry in bundle.entries.items():
        try:
            evidence[name] = examine_entry(entry, known)
        except (Malformed, TooLarge, StoreError):  # the last is the board's trouble, not the bundle's
            raise
        except Refusal as error:
            found.append((error.code, f"{name}: {error}"))
        except SuperbenchError as error:
            found.append(("task", f"{name}: {error}"))
    if found:
        codes = {code for code, _ in found}
        text = "; ".join(reason for _, reason in found) + (KEEPER if "references" in codes else "")
        raise Refusal(text, codes.pop() if len(codes) == 1 else "several")
    return evidence


def reasons(bundle: Bundle, known: Known = nothing_known) -> list[str]:
    """Why a bundle cannot be accepted, one sentence each; empty if it can."""
    try:
        examine(bundle, known)
    except Refusal as error:
        return str(error).split("; ")
    return []


def _one_model(bundle: Bundle) -> list[tuple[str, str]]:
    """A row of a board is one model: all tasks of a bundle must be of the same weights."""
    for part in ("revision", "hop", "layers", "dim", "params"):
        values = {getattr(entry.result.upstream, part) for entry in bundle.entries.values()}
        if len(values) > 1:
            listed = ", ".join(sorted(map(str, values)))
            return [("mixed", f"its results are of models that differ in {part} ({listed}); give each a name of its own")]
    return []


def examine_entry(entry: Entry, known: Known) -> Evidence:
    """Score one result again. Raises `Refusal` that says what does not hold."""
    result = entry.result
    task = plugins.task(result.task.name)
    if result.task.version != task.card.version:
        raise Refusal(
            f"made with version {result.task.version} of the task; this board scores version {task.card.version}", "version"
        )
    predictions, facts, own = _labelled(entry, known(result.task.name, result.data.fingerprint))
    labels = digest(predictions, facts)
    if found := contradictions(result, predictions):
        raise Refusal("; ".join(found), "passport")
    try:
        scores = task.score(predictions, facts)
        found = _claims(result, task, scores)
        drawn = {metric: replicates(predictions, score) for metric, score in scores.items()}
        errors = np.empty(0) if own else _errors(predictions, scores[result.primary])
    except SuperbenchError:
        raise
    except Exception as error:  # a stranger's predictions may break a scorer in any way
        raise Refusal(f"its predictions cannot be scored ({type(error).__name__}: {error!s:.200})", "predictions") from error
    if not found:
        found = _intervals(result, scores, drawn)
    if found:
        raise Refusal("; ".join(found), "score")
    folds = sorted({one.fold for one in predictions})
    if unsound := sweep_rules.reasons(result, task, folds) + _test_choice(result, task, scores):
        raise Refusal("; ".join(unsound), "learning_rate")
    return Evidence(drawn, labels, own, errors, predicted(entry.predictions))


def _errors(predictions: Sequence[Prediction], score: Score) -> np.ndarray:
    """How wrong each answer is, by (fold, id); what cannot be said counts as right."""
    order = sorted(range(len(predictions)), key=lambda i: (predictions[i].fold, predictions[i].id))
    return np.nan_to_num(item_errors(predictions, score))[order]


# ---------------------------------------------------------------- predictions and what they are compared with


def _labelled(entry: Entry, known: References | None) -> tuple[list[Prediction], dict[str, float], bool]:
    """Predictions with the references that count, the scorer's facts, and whether they are the board's own."""
    result, predictions = entry.result, entry.predictions
    if result.predictions != PREDICTIONS:
        raise Refusal(f"its predictions are in {result.predictions!r:.100}; expected {PREDICTIONS}", "schema")
    for one in predictions:
        _bounded([one.prediction, dict(one.also)], one.id)
    if known is not None:
        if known.miniature not in (None, is_miniature(result)):
            raise Refusal(
                f"its passport says that the data {result.data.fingerprint} are {_kind(is_miniature(result))}; by this board's "
                f"own references they are {_kind(known.miniature)}",
                "passport",
            )
        return known.applied(predictions), dict(known.facts), True
    if entry.withheld or any(one.reference is None for one in predictions):
        raise Refusal(
            f"its references are not in the bundle, and this board has none of its own for the data {result.data.fingerprint}",
            "references",
        )
    ids = {(one.fold, one.id) for one in predictions}
    if not ids or len(ids) != len(predictions):
        raise Refusal("it has no predictions, or predicts something twice", "ids")
    _complete(result, predictions)
    facts = facts_of(result)
    for one in predictions:
        _bounded(one.reference, one.id)
    return predictions, facts, False


def _kind(miniature: bool | None) -> str:
    return "a synthetic miniature" if miniature else "no miniature"


def _complete(result: Result, predictions: Sequence[Prediction]) -> None:
    """As many predictions as the passport says. Pieces of recordings are joined before they are scored (SD), so that fewer
    predictions than items are possible there, and only there."""
    passport, task = result.data.passport, plugins.task(result.task.name)
    for fold in {one.fold for one in predictions}:
        count = sum(one.fold == fold for one in predictions)
        expected = passport.trials.get(f"{fold}/test")
        if expected is None:
            expected = result.data.items.get("test" if fold == "all" else f"{fold}/test")
        fewer = task.select.dev is not None and count < (expected or 0)
        if expected != count and not fewer:
            raise Refusal(f"it has {count} predictions in fold {fold}, its passport {expected} test items or trials", "ids")


def _bounded(value: Any, where: str, depth: int = 0) -> None:
    """Refuse what would keep a scorer busy for hours."""
    if isinstance(value, str | list | dict):
        if len(value) > LONGEST or depth > 4:
            raise Refusal(f"the prediction for {where:.100} has {len(value)} parts; at most {LONGEST} are read", "predictions")
        if not isinstance(value, str):
            for inner in value.values() if isinstance(value, dict) else value:
                _bounded(inner, where, depth + 1)


# ---------------------------------------------------------------- what was claimed


def _claims(result: Result, task: Task, scores: dict[str, Score]) -> list[str]:
    if set(scores) != set(result.scores) or result.primary != task.card.primary:
        return [f"it reports {', '.join(sorted(result.scores)):.200}; the task has {', '.join(sorted(scores))}"]
    found = []
    for metric, score in scores.items():
        claimed = result.scores[metric]
        if not _close(score.value, claimed.value):
            found.append(f"{metric} is {score.value:.4f} by its predictions, {claimed.value:.4f} was claimed")
        if (score.unit, score.higher_is_better) != (claimed.unit, claimed.higher_is_better):
            found.append(f"{metric} is given in {claimed.unit}, or in the wrong direction")
        if dict(score.counts).keys() != claimed.counts.keys() or not all(
            _close(float(count), claimed.counts[name]) for name, count in score.counts.items()
        ):
            found.append(f"the counts behind {metric} are not those that its predictions give")
    return found


def _intervals(result: Result, scores: dict[str, Score], drawn: dict[str, Replicates]) -> list[str]:
    found = []
    for metric, score in scores.items():
        claimed = result.scores[metric].ci
        low, high, method = interval_of(drawn[metric], score.value)
        if claimed is not None and not (_close(low, claimed[0]) and _close(high, claimed[1])):
            found.append(f"the interval of {metric} is not the one that its predictions give")
        if result.scores[metric].ci_method not in (None, method):
            found.append(
                f"the interval of {metric} was made by {method!r}; {result.scores[metric].ci_method!r:.200} was claimed"
            )
    return found


def _test_choice(result: Result, task: Task, scores: dict[str, Score]) -> list[str]:
    """Where the protocol chooses among checkpoints on the test (ASV), the receipt of the chosen one is the score itself."""
    if not task.select.checkpoints:
        return []
    choice = next(iter(result.chosen.values()), Choice())
    picked = [row.dev for row in result.sweep if row.setting == choice.get("setting") and row.lr == choice.get("lr")]
    value = scores[task.card.primary].value
    if any(dev is not None and math.isclose(dev, value, rel_tol=1e-4) for dev in picked):
        return []
    return [f"the receipt of the chosen checkpoint says {picked}, its predictions give {value:.4f}"]


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
