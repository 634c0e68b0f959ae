"""Do the miniature speakers differ as much as real speakers? Measured with a speaker encoder trained on real speech.

Resemblyzer (https://github.com/resemble-ai/Resemblyzer, Apache-2.0; GE2E, Wan et al. 2018, trained on recorded voices) brings
weights with it: `pip install --no-deps resemblyzer`. Only they are read, so nothing else of it need work. Printed for each
seed: the EER of its own embeddings on the trials of the miniature VoxCeleb1, then ASV and SID of its frames and of others.

  python benchmarks/speakers.py --seeds 3 7
  python benchmarks/speakers.py --data /corpora --upstream fbank apc@demo/apc.safetensors
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import librosa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import superbench
from superbench import SAMPLE_RATE, Corpora, Features, load_audio, plugins
from superbench.data.synthesis import synthesize
from superbench.results import Result
from superbench.results.intervals import interval
from superbench.system.progress import Silence

HOP, WINDOW, MELS, WIDTH = 160, 400, 40, 256
LOUDNESS = 10 ** (-30 / 20)
PARTIAL, PARTIAL_HOP = 160, 77
"""Frames of which an embedding is made, and from one such stretch to the next."""


class Resemblyzer(nn.Module):
    """The encoder's three LSTM layers as an upstream: states (3, batch, time, 256) every 10 ms from a power mel spectrogram."""

    sample_rate: ClassVar = SAMPLE_RATE
    hop: ClassVar = HOP
    layers: ClassVar = 3
    dim: ClassVar = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.ModuleList(nn.LSTM(WIDTH if layer else MELS, WIDTH, batch_first=True) for layer in range(3))
        self.projection = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        banks = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=MELS)
        self.register_buffer("banks", torch.from_numpy(banks), persistent=False)
        state = torch.load(weights(), map_location="cpu", weights_only=True)["model_state"]
        self.projection.load_state_dict({name: state[f"linear.{name}"] for name in ("weight", "bias")})
        for number, layer in enumerate(self.recurrent):
            layer.load_state_dict({name: state[f"lstm.{name[:-1]}{number}"] for name in layer.state_dict()})

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """States of waves (batch, samples) that are made louder to -30 dB where they are softer, as the encoder learned."""
        loudness = (waves.square().sum(1) / lengths).sqrt().clamp(min=1e-8)
        hidden = self.mel(waves * (LOUDNESS / loudness).clamp(min=1)[:, None])
        states = []
        for layer in self.recurrent:
            hidden = layer(hidden)[0]
            states.append(hidden)
        return Features(torch.stack(states), (lengths // HOP).clamp(min=1))

    def mel(self, waves: Tensor) -> Tensor:
        """Power mel spectrogram (batch, time, 40)."""
        waves = F.pad(waves, (WINDOW // 2, WINDOW // 2 + HOP))
        power = torch.stft(waves, WINDOW, HOP, window=self.window, center=False, return_complex=True).abs().square()
        return (self.banks @ power).transpose(1, 2)

    def embedding(self, wave: Tensor) -> Tensor:
        """The encoder's own embedding (256) of a wave (samples): the mean over stretches of 1.6 s, of length one."""
        frames = max(len(wave) // HOP + 1, PARTIAL)
        starts = range(0, frames - PARTIAL + PARTIAL_HOP // 2, PARTIAL_HOP)
        wave = wave * (LOUDNESS / wave.square().mean().sqrt().clamp(min=1e-8)).clamp(min=1)
        whole = F.pad(wave, (0, (starts[-1] + PARTIAL) * HOP))
        hidden = torch.stack([self.mel(whole[None])[0, start : start + PARTIAL] for start in starts])
        for layer in self.recurrent:
            hidden = layer(hidden)[0]
        parts = F.normalize(self.projection(hidden[:, -1]).relu(), dim=1)
        return F.normalize(parts.mean(0), dim=0)


def weights() -> Path:
    """The file of weights of the installed package, which is not imported."""
    package = importlib.util.find_spec("resemblyzer")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("The encoder is not installed: pip install --no-deps resemblyzer")
    return Path(package.submodule_search_locations[0]) / "pretrained.pt"


def own(root: Path) -> str:
    """The EER of the encoder's own embeddings on the trials of `root`, with its interval."""
    task, encoder = plugins.task("asv"), Resemblyzer().eval()
    (fold,) = task.read(Corpora(root))
    with torch.inference_mode():
        embeddings = {item.id: encoder.embedding(torch.as_tensor(load_audio(item.audio))).tolist() for item in fold.test.items}
    _, predictions = next(iter(task.select.candidates(fold.name, fold.test, embeddings, None)))
    score = task.score(predictions, {})["eer"]
    low, high, _ = interval(predictions, score)
    return f"{score.value:.1f} [{low:.1f}, {high:.1f}]"


def row(result: Result) -> str:
    """A result's primary score with its interval."""
    score = result.scores[result.primary]
    low, high = score.ci or (float("nan"), float("nan"))
    return f"{result.upstream.name}: {result.task.name} {result.primary} {score.value:.1f} [{low:.1f}, {high:.1f}]"


def measure(data: Path | None, seed: int, upstreams: Sequence[str], folder: Path) -> None:
    """Prints the figures of one seed, or of a folder `data`."""
    root = data or folder / "data"
    if data is None:
        synthesize(root, seed, ["asv", "sid"], Silence())
    print(f"seed {seed}: resemblyzer's own embeddings: eer {own(root)}" if data is None else f"own embeddings: eer {own(root)}")
    models = [f"resemblyzer={Path(__file__).resolve()}:Resemblyzer", *upstreams]
    for result in superbench.run(models, "asv,sid", data=root, out=folder / "out", protocol="mini").results:
        print(row(result), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3], help="of the miniature corpora (3)")
    parser.add_argument("--data", type=Path, help="corpora (the miniature VoxCeleb1, written again)")
    parser.add_argument("--upstream", nargs="*", default=["fbank", "apc:untrained"], help="upstreams to compare")
    options = parser.parse_args(arguments)
    for seed in options.seeds if options.data is None else options.seeds[:1]:
        with tempfile.TemporaryDirectory() as folder:
            measure(options.data, seed, options.upstream, Path(folder))


if __name__ == "__main__":
    main()
