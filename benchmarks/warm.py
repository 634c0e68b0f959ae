"""How long does a second run of a task wait before it trains?

The same run twice: with an empty feature store (cold: every sound through the model), then with the store as the first left it
(warm), each into an empty results folder. Measured in one process, after its imports: seconds from the call of `superbench.run`
until the first update of training is done; so reading the corpus, loading and examining the model count. Then epochs over the
training items straight from the store: gigabytes per second as single items copied into memory, and as the padded float32
batches that heads get.

  python benchmarks/warm.py --data demo/data
  python benchmarks/warm.py --task ks --upstream fbank_no_cmvn
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import paired
import probes
import synthetic

import superbench
from superbench import Audio, Corpora, Item, plugins
from superbench.data.synthesis import synthesize
from superbench.features.extraction import Extraction
from superbench.runs.jobs import Job, NoWatcher
from superbench.system.progress import Silence


class Begun(BaseException):
    """Training has begun: the run is broken off, as a person would break it off."""


class Starter(NoWatcher):
    """Waits for the first update."""

    def advance(self, job: Job, stage: str, done: float, total: float) -> None:
        """Break off when training has begun."""
        if stage.startswith("train"):
            raise Begun


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = paired.model_parser(__doc__, 3, synthetic.BASE)
    parser.add_argument("--task", default="pr", help="the task (pr)")
    parser.add_argument("--data", type=Path, help="corpora (by default a new miniature corpus of the task)")
    options = parser.parse_args(arguments)
    paired.settle(options)
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder) / "data"
        if options.data is None:
            synthesize(data, 0, [options.task], Silence())
        cold, *warm = [_until_training(options, data, Path(folder), number) for number in range(options.rounds + 1)]
        print(f"{options.task}, until the first update: cold {cold:.2f} s, warm {statistics.median(warm):.2f} s")
        paired.show(statistics.median(warm) / cold, f"{options.task}, warm / cold start of training", "a warm start under 2 s")
        _read(options, data, Path(folder))


def _until_training(options: argparse.Namespace, data: Path, folder: Path, number: int) -> float:
    began = time.perf_counter()
    try:
        superbench.run(
            [options.upstream], [options.task], data=data, out=folder / f"out{number}", store=folder / "store",
            device=options.device, workers=1, watcher=Starter(),
        )  # fmt: skip
    except Begun:
        return time.perf_counter() - began
    raise SystemExit(f"{options.task} did not begin to train; see {folder}")


def _read(options: argparse.Namespace, data: Path, folder: Path) -> None:
    """Epochs over the training items: the first opens the shards, the others are measured."""
    task, upstream = plugins.task(options.task), synthetic.upstream(options.upstream, options.device)
    recipe = task.card.recipes["mini" if Corpora(data).synthetic else "superb-once"]
    items = [item for fold in task.read(Corpora(data)) for item in task.prepare(fold.train, upstream.hop, recipe).items]
    audios: list[Audio] = [item.audio for item in items]
    extraction = probes.stored(upstream, audios, task, folder / "store", options.device)
    first, size = _epoch(extraction, audios)
    again = statistics.median(_epoch(extraction, audios)[0] for _ in range(options.rounds))
    examples = probes.examples(task, upstream, items, extraction, options.device)
    batched = statistics.median(_batched(examples, items, recipe.batch) for _ in range(options.rounds))
    print(f"{len(items)} training items, {size / 1e9:.3f} GB: the first epoch {size / first / 1e9:.2f} GB/s (opens and checks)")
    print(f"  further epochs {size / again / 1e9:.2f} GB/s (goal: at least 1, or the disk's)")
    print(f"  as batches of {recipe.batch}, padded, float32: {size / batched / 1e9:.2f} GB/s of what is stored")


def _epoch(extraction: Extraction, audios: Sequence[Audio]) -> tuple[float, int]:
    began = time.perf_counter()
    size = sum(extraction[audio].clone().nbytes for audio in audios)  # a view of the mapped file reads nothing by itself
    return time.perf_counter() - began, size


def _batched(examples: probes.Examples, items: Sequence[Item], size: int) -> float:
    began = time.perf_counter()
    for at in range(0, len(items), size):
        examples.batch(range(at, min(at + size, len(items))))
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
