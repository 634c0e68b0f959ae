"""Is a result what its predictions say? Every score is computed again; no number is believed."""

from __future__ import annotations

import math

from superbench import registry
from superbench.board.bundle import Bundle, Entry
from superbench.errors import SuperbenchError
from superbench.probing.intervals import interval

TOLERANCE = 1e-6
"""Relative; scores are sums of small whole numbers, so only the order of additions may move them."""


def reasons(bundle: Bundle) -> list[str]:
    """Why a bundle cannot be accepted, one sentence each; empty if it can."""
    found: list[str] = []
    for name, entry in bundle.entries.items():
        try:
            found += [f"{name}: {reason}" for reason in _entry(entry)]
        except SuperbenchError as error:
            found.append(f"{name}: {error}")
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            found.append(f"{name}: its predictions cannot be scored ({type(error).__name__}: {error})")
    return found


def _entry(entry: Entry) -> list[str]:
    result, predictions = entry.result, entry.predictions
    task = registry.task(result.task.name)
    if result.task.version != task.card.version:
        return [f"made with version {result.task.version} of the task; this board scores version {task.card.version}"]
    ids = [(one.fold, one.id) for one in predictions]
    if not ids or len(set(ids)) != len(ids):
        return ["it has no predictions, or predicts something twice"]
    facts = result.data.passport.facts
    found = []
    scores = task.score(predictions, facts)
    if set(scores) != set(result.scores) or result.primary != task.card.primary:
        return [f"it reports {', '.join(sorted(result.scores))}; the task has {', '.join(sorted(scores))}"]
    for metric, score in scores.items():
        claimed = result.scores[metric]
        if not math.isclose(score.value, claimed.value, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            found.append(f"{metric} is {score.value:.4f} by its predictions, {claimed.value:.4f} was claimed")
        elif claimed.ci is not None and not _close(interval(predictions, score)[:2], claimed.ci):
            found.append(f"the interval of {metric} is not the one that its predictions give")
    return found


def _close(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE) for a, b in zip(one, other, strict=True))
