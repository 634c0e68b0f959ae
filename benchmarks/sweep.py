"""What does a complete sweep cost, compared with one pass of the model?

KS, IC, SID and ER read one mean per layer and utterance (13 x 768 numbers for HuBERT base), so after one pass of the model the
sweep of five learning rates is a computation in memory. Three sides take turns:

  sweep    updates of our sweep: five rates at once, official batches, on stored means
  plain    the same updates by five separate plain torch probes on the same means, one after the other
  forward  a bare forward pass of a HuBERT-base-sized model with random weights, on noise of the corpus' mean length

Printed for each task: milliseconds per update; `sweep / plain`; and `sweep of 2 000 updates / one forward pass` over the sound
of the miniature corpus (or --hours), both scaled linearly from what was measured. The last line of a task is the same for the
official number of updates and the official corpus.

  python benchmarks/sweep.py --tasks ks,ic
  python benchmarks/sweep.py --tasks sid --hours 10 --updates 100
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import paired
import probes
import synthetic
import torch

from superbench import SAMPLE_RATE, plugins
from superbench.plugins import Loaded

STEPS = 2_000
RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the tasks asked for."""
    parser = paired.model_parser(__doc__, 5, synthetic.BASE)
    parser.add_argument("--tasks", default="ks,ic,sid,er", help="tasks whose heads read means (ks,ic,sid,er)")
    parser.add_argument("--updates", type=int, default=40, help="updates of each side in a round (40)")
    parser.add_argument("--items", type=int, default=2_000, help="utterances to draw batches from (2000)")
    parser.add_argument("--seconds", type=float, default=16.0, help="seconds of sound of a round's forward pass (16)")
    parser.add_argument("--hours", type=float, default=None, help="hours of sound in place of the miniature corpus")
    options = parser.parse_args(arguments)
    paired.settle(options)
    model = synthetic.upstream(options.upstream, options.device)
    for name in options.tasks.split(","):
        _measure(name, model, options)


def _measure(name: str, model: Loaded, options: argparse.Namespace) -> None:
    corpus, task = synthetic.CORPORA[name], plugins.task(name)
    with tempfile.TemporaryDirectory() as folder:
        ours, plain = _sides(name, options, Path(folder))
        waves, lengths = _batch(corpus, options)
        sides = {"sweep": ours, "plain": plain, "forward": lambda: _forward(model, waves, lengths)}
        turns = {side: paired.waited(work, options.device) for side, work in sides.items()}
        timings = paired.in_turns(turns, options.rounds)
    update = 1000 / options.updates
    print(f"\n{name}: {timings.median('sweep') * update:.2f} ms per update of five rates together,")
    print(f"  {timings.median('plain') * update:.2f} ms by five plain probes one after the other;")
    sound = float(lengths.sum()) / SAMPLE_RATE
    print(f"  forward {timings.median('forward') / sound * 1000:.1f} ms per second of sound")
    paired.show(timings.ratio("sweep", "plain"), f"{name}, sweep / five plain probes")
    passes = timings.ratio("sweep", "forward") / options.updates * sound  # seconds of sound that an update costs
    hours = options.hours or corpus.miniature
    share = passes * STEPS * corpus.folds / (hours * 3600)
    paired.show(share, f"{name}, sweep of 5 rates x {STEPS} updates / one forward pass over {hours:g} h", "at most 1.15")
    steps = probes.recipe_of(task).steps
    official = passes * steps * corpus.folds / (corpus.official * 3600)
    paired.show(official, f"{name}, 5 rates x {steps} updates / one forward pass over {corpus.official:g} h (scaled linearly)")


def _sides(name: str, options: argparse.Namespace, folder: Path) -> tuple[probes.Steps, PlainSweep]:
    task, numbers = plugins.task(name), synthetic.upstream(synthetic.NUMBERS, options.device)
    audios = synthetic.sounds(folder / "sound", options.items, 0.1)
    extraction = probes.stored(numbers, audios, task, folder / "store", options.device)
    items = probes.items_of(task, numbers, extraction, audios)
    ours = probes.sweep(task, numbers, RATES, items, extraction, options.device)
    apart = [probes.PlainProbe(probes.probe(task, numbers, options.device), rate, ours.recipe) for rate in RATES]
    return probes.Steps(ours, options.updates), PlainSweep(apart, ours, options.updates)


class PlainSweep:
    """Five probes, each trained by itself for the updates of a round, then the next."""

    def __init__(self, apart: Sequence[probes.PlainProbe], sweep: probes.Sweep, updates: int) -> None:
        self.apart, self.sweep, self.updates, self.done = apart, sweep, updates, 0

    def __call__(self) -> None:
        """The updates of a round."""
        for one in self.apart:
            for number in range(self.done, self.done + self.updates):
                one.step(probes.micro_batches(self.sweep, number))
        self.done += self.updates


def _batch(corpus: synthetic.Corpus, options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    count, samples = max(1, round(options.seconds / corpus.seconds)), round(corpus.seconds * SAMPLE_RATE)
    waves = torch.randn(count, samples, generator=torch.Generator().manual_seed(0)) * 0.1
    return waves.to(options.device), torch.full((count,), samples, device=options.device)


@torch.inference_mode()
def _forward(model: Loaded, waves: torch.Tensor, lengths: torch.Tensor) -> None:
    model.model(waves, lengths)


if __name__ == "__main__":
    main()
