"""What does each further learning rate of a task on frames cost?

PR reads stored frames; all learning rates of its sweep train side by side on batches that are read once. Five sides take turns:

  one, five   updates of our sweep with one and with five learning rates: read from the store, pad, mix, head, Adam
  head        the same head alone: forward, CTC, backward, clip, Adam on a mixed batch (batch, time, dim) in memory
  back        the same, and the gradient of the mixed batch, which a head under a mix that learns cannot do without
  probe       the layer mix and the head on a batch (batch, time, layer, dim) in memory

Printed: five / one, and what a further rate costs in bare heads (and in bare probes: with its own mix of the layers).
Features are random numbers of HuBERT base's shape, labels random phones, ten in a second.

  python benchmarks/rates.py --seconds 12.7     the mean length of LibriSpeech's train-clean-100
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import paired
import probes
import synthetic
import torch
from torch import Tensor

from superbench import plugins

RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = paired.model_parser(__doc__, 5, synthetic.NUMBERS)
    parser.add_argument("--count", type=int, default=64, help="utterances (64)")
    parser.add_argument("--seconds", type=float, default=4.0, help="their mean length (4)")
    parser.add_argument("--updates", type=int, default=2, help="updates of each side in a round (2)")
    options = parser.parse_args(arguments)
    paired.settle(options)
    with tempfile.TemporaryDirectory() as folder:
        timings = paired.in_turns(_sides(options, Path(folder)), options.rounds)
    for side in ("one", "five", "head", "back", "probe"):
        print(f"{side:6} {timings.median(side) / options.updates * 1000:8.1f} ms per update")
    paired.show(timings.ratio("five", "one"), "PR, five learning rates / one", "at most 1.6")
    bare = {"head": "head", "back": "head with the gradient of its input", "probe": "probe (layer mix and head)"}
    for side, words in bare.items():
        further = timings.of_rounds(lambda seconds, side=side: (seconds["five"] - seconds["one"]) / 4 / seconds[side])  # type: ignore[misc]
        paired.show(further, f"PR, each further learning rate / its bare {words}", "at most 1.1" if side == "head" else "")


def _sides(options: argparse.Namespace, folder: Path) -> dict[str, Callable[[], object]]:
    task, upstream = plugins.task("pr"), synthetic.upstream(options.upstream, options.device)
    audios = synthetic.sounds(folder / "sound", options.count, options.seconds)
    extraction = probes.stored(upstream, audios, task, folder / "store", options.device)
    items = probes.items_of(task, upstream, extraction, audios)

    def sweep(rates: Sequence[float]) -> probes.Sweep:
        return probes.sweep(task, upstream, rates, items, extraction, options.device)

    one = sweep(RATES[2:3])
    batches = [probes.micro_batches(one, number) for number in range(options.updates)]
    recipe = probes.recipe_of(task)
    bare = probes.PlainProbe(probes.probe(task, upstream, options.device), 1e-3, recipe)
    head = probes.PlainProbe(HeadAlone(probes.probe(task, upstream, options.device), back=False), 1e-3, recipe)
    back = probes.PlainProbe(HeadAlone(probes.probe(task, upstream, options.device), back=True), 1e-3, recipe)
    mixed = [[(features.mean(2), lengths, targets) for features, lengths, targets in parts] for parts in batches]
    sides = {
        "one": probes.Steps(one, options.updates),
        "five": probes.Steps(sweep(RATES), options.updates),
        "head": lambda: [head.step(parts) for parts in mixed],
        "back": lambda: [back.step(parts) for parts in mixed],
        "probe": lambda: [bare.step(parts) for parts in batches],
    }
    return {name: paired.waited(work, options.device) for name, work in sides.items()}


class HeadAlone(torch.nn.Module):
    """A probe whose features come mixed, (batch, time, dim); `back`: a mix that learns would want their gradient."""

    def __init__(self, probe: torch.nn.Module, back: bool) -> None:
        super().__init__()
        self.head: Any = probe.head
        self.back = back

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Returns the output of the head."""
        return self.head(features.detach().requires_grad_(self.back), lengths)


if __name__ == "__main__":
    main()
