"""Evaluates probes on a complete split, in order, and returns what their heads decode, by item id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from superbench.contract import Item
from superbench.system.progress import Reporter, Silence
from superbench.training.probes.probe import Examples, Probe

Reading = Callable[[Any, Tensor, Tensor], Sequence[Any]]
"""(head, outputs, lengths) -> one value per item."""


def plainly(head: Any, outputs: Tensor, lengths: Tensor) -> Sequence[Any]:
    """Return what the head decodes."""
    return head.decode(outputs, lengths)


def fully(head: Any, outputs: Tensor, lengths: Tensor) -> Sequence[tuple[Any, Mapping[str, Any]]]:
    """Return what the head decodes, and what it decodes with other methods (`decode_also`; most heads have none)."""
    further = head.decode_also(outputs, lengths) if hasattr(head, "decode_also") else [{}] * len(lengths)
    return list(zip(head.decode(outputs, lengths), further, strict=True))


@torch.inference_mode()
def decode(
    probes: Sequence[Probe],
    items: Sequence[Item],
    examples: Examples,
    batch: int,
    reading: Reading = plainly,
    reporter: Reporter | None = None,
) -> list[Mapping[str, Any]]:
    """Return for each probe: item id -> decoded value. Every batch of features is read once for all probes."""
    decoded: list[dict[str, Any]] = [{} for _ in probes]
    progress = reporter or Silence()
    for at in range(0, len(items), batch):
        indices = range(at, min(at + batch, len(items)))
        features, lengths = examples.batch(indices)
        for values, probe in zip(decoded, probes, strict=True):
            outputs = probe(features, lengths)
            values |= zip((items[i].id for i in indices), reading(probe.head, outputs, lengths), strict=True)
        progress.advance("test", indices.stop, len(items))
    return list(decoded)
