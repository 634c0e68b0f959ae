"""How often does a second of sound pass through the frozen model in a complete run?

All ten tasks on the miniature corpora, five learning rates, two seeds, a few updates each; the model counts the samples of real
sound in its calls. The expected number is computed without the engine: the different pieces (file, start, end, gain, trimming)
that the tasks' readers return for each reduction, each counted once. Calls of the examination are counted as well.

    python benchmarks/passes.py
    python benchmarks/passes.py --workers 4
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE, Corpora, Features, load_audio, plugins, run
from superbench.contract import Audio, Recipe
from superbench.data.synthesis import synthesize
from superbench.system.progress import Silence

RATES, SEEDS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5), (0, 1)


class Counting(nn.Module):
    """Two layers of frame energies; every call adds its samples of real sound to a file."""

    sample_rate, hop, layers, dim = SAMPLE_RATE, 320, 2, 4
    revision = "counting"
    log = Path("calls.txt")

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """(batch, samples) -> (2, batch, time, 4)."""
        with self.log.open("a") as file:
            file.write(f"{int(lengths.sum())}\n")
        count = (lengths // self.hop).clamp(min=1)
        padded = nn.functional.pad(waves, (0, int(count.max()) * self.hop))[:, : int(count.max()) * self.hop]
        energy = padded.unflatten(1, (-1, 4, self.hop // 4)).square().mean(-1)
        return Features(torch.stack([energy, (energy + 1e-6).log()]), count)


def different(tasks: list[str], root: Path) -> dict[str, float]:
    """Returns the seconds of different pieces of sound by task; pieces that an earlier task reads with the same reduction are
    not counted again."""
    seen: set[tuple[str, Audio]] = set()
    seconds = {}
    for name in tasks:
        task = plugins.task(name)
        pieces = {(task.card.reads, audio) for audio in _audios(task, root)} - seen
        seen |= pieces
        seconds[name] = sum(len(load_audio(audio)) for _, audio in pieces) / SAMPLE_RATE
    return seconds


def _audios(task: Any, root: Path) -> set[Audio]:
    recipe: Recipe = task.card.recipes["mini"]
    folds = task.read(Corpora(root))
    splits = (task.prepare(one, Counting.hop, recipe) for fold in folds for one in (fold.train, fold.dev, fold.test))
    return {dataclasses.replace(item.audio) for split in splits for item in split.items}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="all", help="all, or names")
    parser.add_argument("--steps", type=int, default=2, help="updates of each head")
    parser.add_argument("--data", type=Path, help="folder of existing miniature corpora")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [one.name for one in plugins.listed(plugins.TASKS)] if options.tasks == "all" else options.tasks.split(",")
    with tempfile.TemporaryDirectory(prefix="superbench-passes-") as temporary:
        root = Path(temporary)
        data = options.data or root / "data"
        if options.data is None:
            synthesize(data, 0, names, Silence())
        (root / "model.py").write_text(
            f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom pathlib import Path\n"
            f"from passes import Counting\nCounting.log = Path({str(root / 'calls.txt')!r})\n"
        )
        report = run(
            [f"counting={root / 'model.py'}:Counting"], names, data=data, out=root / "out", store=root / "store",
            workers=options.workers, learning_rates=RATES, seeds=SEEDS, max_steps=options.steps, device="cpu",
        )  # fmt: skip
        assert not report.of("failed"), [one.message for one in report.of("failed")]
        called = sum(int(line) for line in (root / "calls.txt").read_text().split()) / SAMPLE_RATE
        wanted, passed = different(names, data), {one.job.task: one.passed_seconds for one in report.ended}
    for name in names:
        print(f"{name:4} {wanted[name]:9.1f} s of new sound, {passed[name]:9.1f} s passed by the engine's count")
    total, probes = sum(wanted.values()), len(RATES) * len(SEEDS)
    print(f"called with {called:.1f} s for {total:.1f} s of sound: {called / total:.4f} passes with {probes} probes a task")


if __name__ == "__main__":
    main()
