"""Generates the Python reference: every public name of superbench, grouped by purpose."""

from __future__ import annotations

import superbench

GROUPS = {
    "Run and rank": ["list_upstreams", "list_tasks", "run", "forecast", "load_results", "compare", "Board"],
    "Corpora and models to try": ["synthesize", "pretrain", "generate", "check"],
    "An upstream": ["Upstream", "Features", "Pretraining"],
    "A task": ["Task", "TaskCard", "Recipe", "Head", "Selection", "Size", "FreshCrops", "Upload"],
    "Corpora": ["Corpora", "Manifest", "read_manifest", "Fold", "Split", "Item", "Trial", "Audio"],
    "Scores": ["Prediction", "Score", "Setting", "Outputs", "accuracy", "one_per_item", "ratio"],
    "Files and sound": ["SAMPLE_RATE", "audio_header", "load_audio", "load_tensors", "read_text"],
}
"""Names that are in no group are listed under "Others", errors under "Errors"."""

HEAD = "# Python\n\nThese are the public names: `from superbench import run`. Built-in upstreams and tasks use no others.\n"

OPTIONS = """## Options of a run

`run` takes the options of `RunOptions` as keywords, `forecast` those of `RecipeOptions`. Both are types for type checkers.

::: superbench.runs.options.RunOptions
    options: {show_if_no_docstring: true}

::: superbench.runs.options.RecipeOptions
    options: {show_if_no_docstring: true}
"""


def page() -> str:
    """Returns a section for each group; mkdocstrings fills it from the docstrings."""
    listed = {name for names in GROUPS.values() for name in names}
    errors = [name for name in superbench.__all__ if _is_error(name)]
    others = [name for name in superbench.__all__ if name not in listed and name not in errors]
    groups = {**GROUPS, "Others": others, "Errors": errors}
    parts = [_section(title, names) for title, names in groups.items() if names]
    return "\n".join([HEAD, parts[0], OPTIONS, *parts[1:]])


def _section(title: str, names: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"::: superbench.{name}\n" for name in names)


def _is_error(name: str) -> bool:
    value = getattr(superbench, name)
    return isinstance(value, type) and issubclass(value, Exception)
