"""What a result says about a task on a person's own corpus (see `own`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from superbench.contract import CUSTOM
from superbench.system.records import Line, Name, Rate, Record, Text

if TYPE_CHECKING:
    from superbench.contract import TaskCard

KEY = "own_task"
"""The key of these facts in the environment of a result."""


class Told(Record):
    """What a result says about its own task: kind and facts of the card, updates and learning rates of the recipe."""

    kind: Name
    title: Line
    corpus: Line
    primary: Name
    domain: Literal["content", "speaker", "semantics", "emotion"]
    steps: Annotated[int, Field(ge=1, le=10**9)]
    learning_rates: Annotated[list[Rate], Field(min_length=1, max_length=100)]
    withheld: Text = ""


def told_of(card: TaskCard) -> dict[str, Any]:
    """Returns the facts of a card for the environment of a result; empty if the task is of no kind."""
    if not card.kind:
        return {}
    recipe = card.recipes[CUSTOM]
    told = Told(
        kind=card.kind, title=card.title, corpus=card.corpus, primary=card.primary, domain=card.domain, steps=recipe.steps,
        learning_rates=list(recipe.learning_rates), withheld=card.withheld,
    )  # fmt: skip
    return {KEY: told.model_dump(mode="json")}
