"""Results of tasks that this machine cannot load: their rows stay, with the columns of the tasks that it knows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from superbench.board.bundles.evidence import Evidence
from superbench.errors import BrokenPlugin, CommandError, UnknownName, first_of
from superbench.results import Result
from superbench.results.own import own_kind, task_of
from superbench.results.rows import Group, Row

NO_EVIDENCE = Evidence(replicates={}, labels="", own=True)
"""The evidence of a result that cannot be scored here: none of its numbers is shown."""


def looked_up() -> Callable[[Result], bool]:
    """Returns a function that says whether the task of a result, or the kind of its own task, can be loaded on this machine;
    each is loaded once."""
    known: dict[tuple[str, str], bool] = {}

    def is_known(result: Result) -> bool:
        """Returns whether the task of a result can be loaded; remembers the answer."""
        own = own_kind(result.environment)
        name = result.task.name, own.kind if own else ""
        if name not in known:
            try:
                task_of(result)
                known[name] = True
            except (UnknownName, BrokenPlugin):
                known[name] = False
            except CommandError:  # an own task of no kind: scoring says why the result is left out
                known[name] = True
        return known[name]

    return is_known


def without_tasks(group: Group, missing: Collection[str]) -> Group:
    """Returns a group without the cells and results of tasks; its rows stay."""
    return group if not missing else replace(group, rows=tuple(_without_tasks(row, missing) for row in group.rows))


def _without_tasks(row: Row, missing: Collection[str]) -> Row:
    return replace(
        row,
        cells={key: cell for key, cell in row.cells.items() if key.partition(".")[0] not in missing},
        results={task: result for task, result in row.results.items() if task not in missing},
        replicates={key: drawn for key, drawn in row.replicates.items() if key.partition(".")[0] not in missing},
    )


def facts_of(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Returns for each task of `results` its plugin, as recorded in them, and the names of their rows."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.task.name, []).append(result)
    return [
        {
            "task": task,
            "plugin": next((str(result.environment["plugin"]) for result in of_task if result.environment.get("plugin")), ""),
            "rows": sorted({result.upstream.name for result in of_task}),
        }
        for task, of_task in sorted(found.items())
    ]


def said(facts: dict[str, Any]) -> str:
    """Returns one sentence about a task that is missing here."""
    plugin = f"the plugin {facts['plugin']}" if facts["plugin"] else "its plugin, whose name its results do not tell"
    return (
        f"The task {facts['task']} is not installed on this machine, or cannot be loaded. Shown without its column: "
        f"{first_of(facts['rows'])}. Install {plugin}, and write the page again."
    )
