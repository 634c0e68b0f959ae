"""How much faster is superbench than the reference toolkit, at an equal number of steps?

The reference (s3prl) sends every batch of every step through the frozen model. Here its own Featurizer, projector and
UtteranceLevel head are trained as its runner trains them, on batches whose waves are already in memory. This is compared with
our extraction (decode, model, means, store) of as much sound, and our sweep on the stored means. Both use the same random model
and the same noise. Four sides take turns:

  reference   one update of one learning rate: official batch and accumulation, every utterance through the model
  extraction  as many utterances decoded, through the model and into an empty store
  sweep       updates of five learning rates together     single   updates of one learning rate

Measured are seconds per update and per second of sound. The ratios are EXTRAPOLATED from them, linearly: a training of N
updates takes N steps of the reference, or one pass over the corpus and N updates in memory. Three lines: 2 000 updates and five
learning rates on the miniature corpus, then the official number of updates on the official corpus, for one learning rate and
for five. Evaluations and the reference's decoding are left out, in its favour; our pass includes dev and test.

  python benchmarks/against_reference.py --task ic
  python benchmarks/against_reference.py --task ks --rounds 5
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import paired
import probes
import synthetic
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from superbench import SAMPLE_RATE, Audio, Item, Task, load_audio, plugins
from superbench.plugins import Loaded

STEPS = 2_000
RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one task."""
    parser = paired.model_parser(__doc__, 4, synthetic.BASE)
    parser.add_argument("--task", choices=sorted(synthetic.CORPORA), default="ic", help="a task whose head reads means (ic)")
    parser.add_argument("--updates", type=int, default=40, help="updates of our sweep in a round (40)")
    parser.add_argument("--seconds", type=float, default=None, help="mean seconds of an utterance (the real corpus')")
    options = parser.parse_args(arguments)
    paired.settle(options)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        world = World.made(options, Path(folder))
        timings = paired.in_turns(_sides(world, options), options.rounds)
    _print(options, world, timings)


@dataclass(frozen=True, slots=True)
class World:
    """The task, the model, and a batch's worth of sound with labels."""

    task: Task
    model: Loaded
    audios: list[Audio]
    items: list[Item]
    extraction: Any
    folder: Path

    @classmethod
    def made(cls, options: argparse.Namespace, folder: Path) -> World:
        """Noise for one update, and its features."""
        task, model = plugins.task(options.task), synthetic.upstream(options.upstream, options.device)
        recipe = probes.recipe_of(task)
        seconds = options.seconds or synthetic.CORPORA[options.task].seconds
        audios = synthetic.sounds(folder / "sound", recipe.batch * recipe.accumulate, seconds)
        extraction = probes.stored(model, audios, task, folder / "first", options.device)
        return cls(task, model, audios, probes.items_of(task, model, extraction, audios), extraction, folder)

    @property
    def seconds(self) -> float:
        """Seconds of sound in an update."""
        return sum(self.extraction.samples(audio) for audio in self.audios) / SAMPLE_RATE


def _sides(world: World, options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    numbers = count()

    def extraction() -> None:
        probes.stored(world.model, world.audios, world.task, world.folder / f"store{next(numbers)}", options.device)

    def sweep(rates: Sequence[float]) -> probes.Steps:
        return probes.Steps(
            probes.sweep(world.task, world.model, rates, world.items, world.extraction, options.device), options.updates
        )

    sides = {
        "reference": Reference(world, options.device),
        "extraction": extraction,
        "sweep": sweep(RATES),
        "single": sweep(RATES[2:3]),
    }
    return {name: paired.waited(work, options.device) for name, work in sides.items()}


# ---------------------------------------------------------------- the reference


class ListOfWaves(nn.Module):
    """An upstream called as the reference calls one: a list of waves in, `hidden_states` out."""

    def __init__(self, upstream: Loaded) -> None:
        super().__init__()
        self.upstream = upstream

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.upstream.hop

    def forward(self, waves: list[Tensor]) -> dict[str, list[Tensor]]:
        """Returns the frames of every layer, (batch, time, dim)."""
        lengths = torch.tensor([len(wave) for wave in waves], device=waves[0].device)
        return {"hidden_states": list(self.upstream.model(pad_sequence(waves, batch_first=True), lengths).frames)}


class Reference:
    """s3prl's modules in the loop of its runner (`downstream/runner.py`); called, it makes one update."""

    def __init__(self, world: World, device: str) -> None:
        from s3prl.downstream.model import UtteranceLevel
        from s3prl.upstream.interfaces import Featurizer

        head = probes.head_of(world.task, world.model.dim)
        self.recipe, self.loss = probes.recipe_of(world.task), head.loss
        self.upstream = ListOfWaves(world.model)
        self.featurizer = Featurizer(self.upstream, upstream_device=device).to(device)
        self.projector = nn.Linear(world.model.dim, head.project.out_features).to(device)
        self.model = UtteranceLevel(head.project.out_features, head.classify.out_features).to(device)
        self.weights = [*self.featurizer.parameters(), *self.projector.parameters(), *self.model.parameters()]
        self.optimizer = torch.optim.Adam(self.weights, lr=1e-3)
        self.waves = [load_audio(audio).to(device) for audio in world.audios]
        self.targets = torch.stack([head.encode(item.label) for item in world.items]).to(device)

    def __call__(self) -> None:
        """One update: its micro-batches, then clipping and Adam."""
        size = self.recipe.batch
        for at in range(0, len(self.waves), size):
            (self._loss(self.waves[at : at + size], self.targets[at : at + size]) / self.recipe.accumulate).backward()
        nn.utils.clip_grad_norm_(self.weights, self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _loss(self, waves: list[Tensor], targets: Tensor) -> Tensor:
        with torch.no_grad():
            states = self.upstream(waves)
        features = self.featurizer(waves, states)
        lengths = torch.IntTensor([len(one) for one in features])
        outputs, _ = self.model(self.projector(pad_sequence(features, batch_first=True)), lengths)
        return self.loss(outputs, lengths, targets)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences s3prl's output on stderr, and warnings of its modules about deprecated names."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


# ---------------------------------------------------------------- results


def _print(options: argparse.Namespace, world: World, timings: paired.Timings) -> None:
    corpus, official = synthetic.CORPORA[options.task], probes.recipe_of(world.task).steps
    sweep, single = (timings.median(side) / options.updates * 1000 for side in ("sweep", "single"))
    print(f"{options.task}, measured on {world.seconds:.0f} s of sound, one update's worth:")
    print(f"  one update of the reference {timings.median('reference'):.2f} s")
    print(f"  our extraction of the same sound {timings.median('extraction'):.2f} s")
    print(f"  one update of our sweep {sweep:.2f} ms for five learning rates, {single:.2f} ms for one")
    for steps, hours, rates in ((STEPS, corpus.miniature, 5), (official, corpus.official, 1), (official, corpus.official, 5)):
        total = Totals(steps, hours, rates, corpus.folds, world.seconds, options.updates)
        theirs, ours = timings.of_rounds(total.theirs) / 3600, timings.of_rounds(total.ours) / 3600
        ratio = timings.of_rounds(lambda seconds, total=total: total.theirs(seconds) / total.ours(seconds))  # type: ignore[misc]
        paired.show(
            ratio,
            f"{options.task}, reference / ours, {steps} updates x {rates} rate(s), {hours:g} h of sound, extrapolated: "
            f"{theirs:,.1f} h / {ours:,.2f} h",
            "at least 100",
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """Seconds of a complete training, extrapolated from the seconds of a round."""

    steps: int
    hours: float
    rates: int
    folds: int
    sound: float
    updates: int

    def theirs(self, seconds: Mapping[str, float]) -> float:
        """Returns seconds if every update of every rate passes its batch through the model."""
        return seconds["reference"] * self.steps * self.rates * self.folds

    def ours(self, seconds: Mapping[str, float]) -> float:
        """Returns seconds of one pass over the corpus, then updates in memory."""
        update = seconds["sweep" if self.rates > 1 else "single"] / self.updates
        return seconds["extraction"] / self.sound * self.hours * 3600 + update * self.steps * self.folds


if __name__ == "__main__":
    main()
