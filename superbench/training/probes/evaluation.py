"""A whole split, in order, through a probe: what its head decodes, by item id."""

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
    """What the head decodes."""
    return head.decode(outputs, lengths)


def fully(head: Any, outputs: Tensor, lengths: Tensor) -> Sequence[tuple[Any, Mapping[str, Any]]]:
    """What the head decodes, and what it decodes also, by other ways; most heads know none."""
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
    """For each probe, item id -> decoded value; every batch of features is read once for all probes."""
    decoded: list[dict[str, Any]] = [{} for _ in probes]
    listener = reporter or Silence()
    for at in range(0, len(items), batch):
        some = range(at, min(at + batch, len(items)))
        features, lengths = examples.batch(some)
        for values, probe in zip(decoded, probes, strict=True):
            outputs = probe(features, lengths)
            values |= zip((items[i].id for i in some), reading(probe.head, outputs, lengths), strict=True)
        listener.advance("test", some.stop, len(items))
    return list(decoded)
