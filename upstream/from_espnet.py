"""Not readable yet: models of ESPnet, `espnet/...`, because ESPnet does not install beside superbench (docs/upstreams.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Never

from superbench import CommandError
from upstream.shared.hub_names import INSTEAD, NO_ESPNET


def load(name: str, weights: Path | None) -> Never:
    """Raises `CommandError`: why models of ESPnet cannot be read, and what to do instead."""
    raise CommandError(f"espnet/{name}: {NO_ESPNET} {INSTEAD}")
