"""Tasks on a person's own corpus: what a result says about its task, and the task that scores this result elsewhere.

Such a task is not installed where its results are shown. Its result names the kind of the task (an entry point of the group
`superbench.kinds`), and this kind brings the scorer: no code comes with a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from superbench import plugins
from superbench.contract import CUSTOM, Recipe
from superbench.errors import CommandError
from superbench.results.told import KEY, Told

if TYPE_CHECKING:
    from superbench.contract import Task
    from superbench.results.result import Result


def own_kind(environment: Mapping[str, Any]) -> Told | None:
    """Returns what a result says about its own task; None if it says nothing."""
    told: Told | None = environment.get(KEY)
    return told


def task_of(result: Result) -> Task:
    """Returns the task that scores a result: the installed one of its name, or one of the kind that the result names.

    Raises `CommandError` if there is none."""
    name = result.task.name
    if (KEY not in result.environment and result.task.protocol != CUSTOM) or name in registered():
        return plugins.task(name)
    told = own_kind(result.environment)
    if told is None:
        raise CommandError(
            f"The task {name!r} is a person's own, from a file, and of no kind that is known here, so nothing can score it. "
            "Make it with a function of downstream.own_tasks (`superbench task new`), or install it as an entry point."
        )
    rates = tuple(told.learning_rates)
    recipe = Recipe(steps=told.steps, batch=1, evaluate_every=told.steps, learning_rates=rates)
    facts = {"title": told.title, "version": result.task.version, "corpus": told.corpus, "primary": told.primary}
    return plugins.kind(told.kind)(name, recipe=recipe, withheld=told.withheld, **facts)


def can_score(result: Result) -> bool:
    """Returns whether a task is known here that scores a result."""
    return result.task.name in registered() or own_kind(result.environment) is not None


def registered() -> set[str]:
    """Returns the names of the installed tasks; none is imported."""
    return {listed.name for listed in plugins.listed(plugins.TASKS)}
