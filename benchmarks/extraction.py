"""How close is extraction to the speed of the model alone?

Our extraction (decode, pad, model, reduce, write to the store) in turns with the bare model's forward pass on the very same
batches already in memory, recorded while a first extraction ran. Both reductions are measured: `mean` keeps one row per layer
and utterance, `frames` keeps all of them in half precision. Every extraction fills an empty store.

Printed: bare / extraction for each reduction (1 = only the model costs time), and on a CPU the parts of the time: within the
model while the decoding threads run, and outside of it. (On a GPU the parts run at the same time.)

  python benchmarks/extraction.py --kind flac
  python benchmarks/extraction.py --device cuda --precision bfloat16 --kind voices --count 1000 --seconds 10 --reductions mean
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import paired
import synthetic
import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE, Audio, Features
from superbench.contract import Precision, Reduction
from superbench.features.extraction import extract
from superbench.features.forward import ForwardOptions
from superbench.features.store import Store
from superbench.plugins import Loaded
from superbench.system.progress import Silence

REDUCTIONS: tuple[Reduction, ...] = ("mean", "frames")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = paired.model_parser(__doc__, 3, synthetic.BASE)
    parser.add_argument("--count", type=int, default=30, help="utterances (30)")
    parser.add_argument("--seconds", type=float, default=2.3, help="their mean length (2.3)")
    kinds = "how the sound is stored (wav); voices: flac that is compressed as speech is"
    parser.add_argument("--kind", choices=("wav", "flac", "voices"), default="wav", help=kinds)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the model (float32)")
    parser.add_argument("--reductions", default=",".join(REDUCTIONS), help="which are measured (mean,frames)")
    options = parser.parse_args(arguments)
    paired.settle(options)
    with tempfile.TemporaryDirectory() as folder:
        if options.kind == "voices":
            audios = synthetic.voices(Path(folder) / "sound", options.count, options.seconds)
        else:
            audios = synthetic.sounds(Path(folder) / "sound", options.count, options.seconds, kind=options.kind)
        upstream = synthetic.upstream(options.upstream, options.device)
        listener = Listener(upstream.model, options.device, options.precision)
        heard = replace(upstream, model=listener)
        reductions = [kind for kind in REDUCTIONS if kind in options.reductions.split(",")]
        ours: dict[str, Extractor] = {kind: Extractor(heard, audios, kind, Path(folder), listener) for kind in reductions}
        ours[reductions[0]]()  # the listener records the batches
        sides: dict[str, Callable[[], object]] = {"bare": paired.waited(listener.again, options.device), **ours}
        timings = paired.in_turns(sides, options.rounds, warm_up=0)
    _print(options, timings, ours, listener)


class Listener(nn.Module):
    """A model that remembers the batches it was first called with, and how long its calls took."""

    def __init__(self, model: nn.Module, device: str, precision: Precision) -> None:
        super().__init__()
        self.model, self.device, self.precision = model, device, precision
        self.batches: list[tuple[Tensor, Tensor]] = []
        self.seconds, self.listening = 0.0, True

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the features of the model, and records the batch."""
        if self.listening:
            self.batches.append((waves, lengths))
        began = time.perf_counter()
        features = self.model(waves, lengths)
        self.seconds += time.perf_counter() - began
        return features

    @torch.inference_mode()
    def again(self) -> None:
        """Runs the model alone on the recorded batches."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            for waves, lengths in self.batches:
                self.model(waves, lengths)

    @property
    def sound(self) -> float:
        """Seconds of sound in the batches."""
        return sum(float(lengths.sum()) for _, lengths in self.batches) / SAMPLE_RATE


class Extractor:
    """Our extraction into an empty store; `inside` are the seconds of each that went by within the model."""

    def __init__(self, upstream: Loaded, audios: list[Audio], reduction: Reduction, folder: Path, listener: Listener) -> None:
        self.upstream, self.audios, self.reduction, self.listener = upstream, audios, reduction, listener
        self.root = folder / reduction
        self.inside: list[float] = []

    def __call__(self) -> None:
        """Extracts everything into an empty store."""
        shutil.rmtree(self.root, ignore_errors=True)
        before, passing = self.listener.seconds, ForwardOptions(precision=self.listener.precision)
        with Store(self.root) as store:
            extract(self.upstream, self.audios, self.reduction, store, self.listener.device, Silence(), passing=passing).close()
        self.inside.append(self.listener.seconds - before)
        self.listener.listening = False


def _print(options: argparse.Namespace, timings: paired.Timings, ours: dict[str, Extractor], listener: Listener) -> None:
    bare = timings.median("bare")
    print(f"bare forward: {bare:.2f} s for {listener.sound:.0f} s of sound in {len(listener.batches)} batches")
    for kind in ours:
        whole = timings.median(kind)
        inside = statistics.median(ours[kind].inside[-options.rounds :])
        parts = f", of which {inside:.2f} s within the model and {whole - inside:.2f} s outside of it"
        print(f"{kind}: {whole:.2f} s, {listener.sound / whole:.0f} x real time{parts if options.device == 'cpu' else ''}")
        goal = "at least 0.75" if options.device == "cuda" else "at least 0.90"
        paired.show(timings.ratio("bare", kind), f"bare forward / extraction of {kind}, from {options.kind}", goal)


if __name__ == "__main__":
    main()
