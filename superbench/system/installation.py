"""Is it this superbench that `import superbench` gives? Another project's package has the same name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

OURS = "speech-superbench"
PACKAGE = "superbench"


def foreign(path: Sequence[str] | None = None) -> list[str]:
    """A sentence for each other package named superbench that is installed, or that lies on `path` (default: `sys.path`).

    Microsoft's superbenchmark installs one. Its files and ours then lie in one folder, or the folder that comes first on the
    path hides the other.
    """
    here = Path(__file__).resolve().parents[1]
    found = [f"the distribution {name} installs one, too" for name in sorted(_distributions() - {OURS})]
    for entry in dict.fromkeys(sys.path if path is None else path):
        place = Path(entry or ".").resolve() / PACKAGE
        if place != here and (place / "__init__.py").is_file():
            found.append(f"{place} is another one")
    return found


def advice(found: Sequence[str]) -> str:
    """What was found, what was expected, and what to do."""
    return (
        f"More than one Python package is called {PACKAGE}: {'; '.join(found)}. Expected the one of {OURS} alone, in "
        f"{Path(__file__).resolve().parents[1]}. The one that comes first hides the other: use an environment of its own for "
        "each."
    )


def _distributions() -> set[str]:
    return {name.lower().replace("_", "-") for name in packages_distributions().get(PACKAGE, ())}
