"""Checks the predictions of a bundle before they are scored: their number, their size and their type."""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import ConfigDict, FailFast, TypeAdapter, ValidationError

from superbench.board.bundles.references import is_sampled
from superbench.contract import Prediction, Score, Task
from superbench.errors import Refusal, SuperbenchError
from superbench.results import Result
from superbench.results.draws import MOST_ITEMS

LONGEST = 20_000
"""Characters of a text, or entries of a list, in one prediction: ten times the longest utterance of SUPERB."""


def require_types(task: Task, predictions: Sequence[Prediction]) -> None:
    """Requires that every prediction, and every output of another decoder, has the type that the task declares; if it declares
    none, that of the references, where these are all texts or all numbers. True and false are no numbers."""
    expected = task.predicts or _type_of([prediction.reference for prediction in predictions])
    if expected is None:
        return
    values = [[prediction.prediction, *prediction.also.values()] for prediction in predictions]
    row = Annotated[list[expected], FailFast()]  # type: ignore[valid-type]
    checked = TypeAdapter(Annotated[list[row], FailFast()], config=ConfigDict(strict=True, allow_inf_nan=False))
    try:
        checked.validate_json(json.dumps(values))
    except ValidationError as error:
        item, output = (int(place) for place in error.errors(include_input=False, include_context=False)[0]["loc"][:2])
        text = json.dumps(values[item][output], ensure_ascii=False)
        raise Refusal(
            f"the prediction for {predictions[item].id:.100} is {text:.80}; expected {_in_words(expected)}", "predictions"
        ) from error


def _in_words(kind: Any) -> str:
    """Returns the type of a prediction as a message names it.

    >>> _in_words(list[tuple[float, str]])
    'a list of [a finite number, a text]'
    """
    parts = [_in_words(part) for part in get_args(kind)]
    match get_origin(kind) or kind:
        case builtins.str:
            return "a text"
        case builtins.float:
            return "a finite number"
        case builtins.list:
            return f"a list of {parts[0]}"
        case builtins.tuple:
            return f"[{', '.join(parts)}]"
        case builtins.dict:
            return f"an object whose values are {parts[1].removeprefix('a ')}s"
    return str(kind)


def _type_of(references: Sequence[Any]) -> Any:
    """Returns `str` or `float` if all references are of this type; None otherwise."""
    kinds = {float if type(reference) is int else type(reference) for reference in references}
    return kinds.pop() if kinds in ({str}, {float}) else None


def require_bounded(value: Any, where: str, depth: int = 0) -> None:
    """Refuses predictions that are so large that scoring them would take hours."""
    if isinstance(value, str | list | dict):
        if len(value) > LONGEST or depth > 4:
            raise Refusal(f"the prediction for {where:.100} has {len(value)} parts; at most {LONGEST} are read", "predictions")
        if not isinstance(value, str):
            for inner in value.values() if isinstance(value, dict) else value:
                require_bounded(inner, where, depth + 1)


def require_complete(result: Result, task: Task, predictions: Sequence[Prediction]) -> None:
    """Requires as many predictions as the passport lists items or trials.

    In SD, pieces of a recording are joined before they are scored, so only there are fewer predictions than items possible.
    """
    folds = sorted({prediction.fold for prediction in predictions})
    for fold in folds:
        count = sum(prediction.fold == fold for prediction in predictions)
        expected = _items_of(result, fold)
        if is_sampled(result):
            expected = min(expected, math.ceil(MOST_ITEMS / len(folds)))
        fewer = task.select.dev is not None and count < expected
        if expected != count and not fewer:
            raise Refusal(
                f"it has {count} predictions in fold {fold:.100}, but its passport lists {expected} test items or trials", "ids"
            )


def _items_of(result: Result, fold: str) -> int:
    """Returns the number of test items or trials of a fold; raises `Refusal` if the result lists none."""
    listed = result.data.passport.trials.get(f"{fold}/test")
    if listed is None:
        listed = result.data.items.get("test" if fold == "all" else f"{fold}/test")
    if listed is None:
        splits = ", ".join(sorted(result.data.items)) or "nothing"
        raise Refusal(f"it has predictions in fold {fold:.100}, of which it lists no test items; it lists {splits:.300}", "ids")
    return listed


def scored(task: Task, predictions: Sequence[Prediction], facts: Mapping[str, float]) -> dict[str, Score]:
    """Returns the scores; raises `Refusal`, with the id of an item that cannot be scored even alone, if the scorer fails."""
    try:
        return task.score(predictions, facts)
    except SuperbenchError:
        raise
    except Exception as error:  # untrusted predictions can make a scorer fail in any way
        item = _unscorable(task, predictions, facts)
        found = "its predictions" if item is None else f"the prediction for {item.id:.100}"
        raise Refusal(f"{found} cannot be scored ({type(error).__name__}: {error!s:.200})", "predictions") from error


def _unscorable(task: Task, predictions: Sequence[Prediction], facts: Mapping[str, float]) -> Prediction | None:
    """Returns an item for which the scorer fails, found by halving; None if it fails for no half."""
    while len(predictions) > 1:
        middle = len(predictions) // 2
        halves = (predictions[:middle], predictions[middle:])
        failing = next((half for half in halves if not _can_be_scored(task, half, facts)), None)
        if failing is None:
            return None
        predictions = failing
    return predictions[0] if predictions else None


def _can_be_scored(task: Task, predictions: Sequence[Prediction], facts: Mapping[str, float]) -> bool:
    try:
        task.score(predictions, facts)
    except Exception:  # as above
        return False
    return True
