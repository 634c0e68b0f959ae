"""A whole split, in order, through a probe: what its head decodes, by item id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from superbench.contract import Item
from superbench.probing.probe import Examples, Probe


@torch.inference_mode()
def decode(probes: Sequence[Probe], items: Sequence[Item], examples: Examples, batch: int) -> list[Mapping[str, Any]]:
    """For each probe, item id -> decoded value; every batch of features is read once for all probes."""
    decoded: list[dict[str, Any]] = [{} for _ in probes]
    for at in range(0, len(items), batch):
        some = range(at, min(at + batch, len(items)))
        features, lengths = examples.batch(some)
        for values, probe in zip(decoded, probes, strict=True):
            outputs = probe(features, lengths)
            values |= zip((items[i].id for i in some), probe.head.decode(outputs, lengths), strict=True)  # type: ignore[operator]
    return list(decoded)
