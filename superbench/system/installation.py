"""Checks whether another package named superbench hides this one. Another project uses the same name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

OURS = "speech-superbench"
PACKAGE = "superbench"


def foreign(path: Sequence[str] | None = None) -> list[str]:
    """Returns a phrase for each other package named superbench that is installed or is on `path` (default: `sys.path`).

    Microsoft's superbenchmark installs one. Then the files of both packages are in one folder, or the folder that comes first
    on the path hides the other.
    """
    ours = Path(__file__).resolve().parents[1]
    others = [f"the distribution {name} installs one, too" for name in sorted(_distributions() - {OURS})]
    for entry in dict.fromkeys(sys.path if path is None else path):
        folder = Path(entry or ".").resolve() / PACKAGE
        if folder != ours and (folder / "__init__.py").is_file():
            others.append(f"{folder} is another one")
    return others


def advice(others: Sequence[str]) -> str:
    """Returns the message for `others` as `foreign` returns them: what was found, what was expected, and what to do."""
    return (
        f"More than one Python package is called {PACKAGE}: {'; '.join(others)}. Expected only the one of {OURS}, in "
        f"{Path(__file__).resolve().parents[1]}. The one that comes first hides the other: use an environment of its own for "
        "each."
    )


def _distributions() -> set[str]:
    return {name.lower().replace("_", "-") for name in packages_distributions().get(PACKAGE, ())}
