"""Loads tasks from a person's own Python file, `path/to/file.py:NAME`, and says what is missing in a task."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from superbench.contract.paths import expanded
from superbench.errors import BrokenPlugin, CommandError
from superbench.plugins import model_files
from superbench.plugins.entry_points import TASKS, points
from superbench.plugins.rehearsal import rehearse
from superbench.plugins.tracing import was_read

if TYPE_CHECKING:
    from superbench.contract import Task

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
PARTS = {
    "read": "read(corpora), which returns folds",
    "prepare": "prepare(split, hop, recipe), which returns the split",
    "score": "score(predictions, facts), which returns scores by name",
}


def is_file(name: str) -> bool:
    """Returns whether a name is `path/to/file.py:NAME`."""
    return ".py:" in name


def is_task_file(name: str) -> bool:
    """Returns whether `path/to/file.py:NAME` names a task, or anything else that is no model: neither a class nor a function.
    Raises the errors of `read_task` for a file that cannot be read."""
    before, _, after = name.partition(".py:")
    if not after or "=" in before or ":" in after or "@" in name:  # an alias, options or a checkpoint: of a model
        return False
    return not callable(_object(name, one_model=True))


def absolute(name: str) -> str:
    """Returns the name with the absolute path of its file."""
    file, _, attribute = name.rpartition(":")
    return f"{expanded(file).absolute()}:{attribute}"


def read_task(name: str) -> Task:
    """Returns the task of `path/to/file.py:NAME`. The file is first read in a child process, unless it was read before.

    Raises `CommandError` if it does not exist, or if its name is that of an installed task; `BrokenPlugin` for anything that is
    no complete task.
    """
    found = _object(name)
    _check(found, name)
    task: Task = found
    require_name(task.card.name, name)
    return task


def require_name(name: str, whose: str) -> None:
    """Raises `CommandError` if a task cannot have this name; `whose` says what gave it, for the message."""
    if not NAME.fullmatch(name):
        raise CommandError(
            f"{whose}: found the name {name!r}. Expected letters, digits, - and _, at most 40: it names a folder."
        )
    if name in points(TASKS):
        raise CommandError(f"{whose}: {name!r} is the name of an installed task. Choose another name.")


def _object(name: str, *, one_model: bool = False) -> Any:
    module, attribute = model_files.module_name(name), name.rpartition(":")[2]
    if was_read(module) and hasattr(sys.modules[module], attribute):
        return getattr(sys.modules[module], attribute)
    rehearse(_rehearsed, name, what=name)
    return model_files.read(name, one_model=one_model)


def _rehearsed(name: str) -> None:
    model_files.read(name, one_model=False)


def _check(found: Any, name: str) -> None:
    from superbench.contract import Task

    if not isinstance(found, Task):
        raise BrokenPlugin(
            f"{name} is {_described(found)}, and no task. Expected a value of superbench.Task; see 'Add a task'."
        )
    if missing := missing_parts(found):
        raise BrokenPlugin(f"{name} is no complete task: {'; '.join(missing)}.")


def _described(found: Any) -> str:
    kind = "a function" if callable(found) and not isinstance(found, type) else f"a {type(found).__name__}"
    return "a class" if isinstance(found, type) else kind


def missing_parts(task: Task) -> list[str]:
    """Returns what a task lacks, a phrase for each part: `prepare is None, expected prepare(split, hop, recipe), …`."""
    from superbench.contract import Selection, TaskCard

    parts: dict[str, Any] = {part: getattr(task, part) for part in (*PARTS, "card", "head", "select", "synth")}
    candidates: Any = getattr(parts["select"], "candidates", None)
    if not isinstance(parts["card"], TaskCard):
        return [f"card is {parts['card']!r:.60}, expected a superbench.TaskCard"]
    missing = [_lacks(part, parts[part], form) for part, form in PARTS.items() if not callable(parts[part])]
    if parts["head"] is not None and not callable(parts["head"]):
        missing.append(_lacks("head", parts["head"], "head(dim, fold, recipe), or None if nothing is trained"))
    if not isinstance(parts["select"], Selection):
        missing.append(_lacks("select", parts["select"], "a superbench.Selection"))
    elif not callable(candidates):
        missing.append(_lacks("select.candidates", candidates, "a function such as superbench.one_per_item"))
    if parts["synth"] is not None and not callable(parts["synth"]):
        missing.append(_lacks("synth", parts["synth"], "synth(root, seed), or nothing"))
    if not task.card.recipes:
        missing.append("the card has no recipe, expected one named custom, or superb, superb-once and mini")
    return missing


def _lacks(part: str, value: Any, form: str) -> str:
    return f"{part} is {value!r:.60}, expected {form}"
