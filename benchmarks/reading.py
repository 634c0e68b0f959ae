"""What a process of `feeding` does; it imports no more than it needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import soundfile


def read(paths: Sequence[Path]) -> None:
    """Decodes files, and forgets them."""
    for path in paths:
        soundfile.read(path, dtype="float32")
