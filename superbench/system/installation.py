"""Facts about the installation: versions, and whether another package named superbench hides this one."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

OURS = "speech-superbench"
PACKAGE = "superbench"
MATTERING = (
    "torch", "torchaudio", "numpy", "scipy", "soundfile", "soxr", "librosa", "scikit-learn", "transformers", "s3prl",
    "speechbrain",
)  # fmt: skip
"""Distributions whose versions can change features or scores."""


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


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the installed distributions on which features and scores depend."""
    found = {"Python": platform.python_version()}
    for name in MATTERING:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found
