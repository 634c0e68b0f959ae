"""Random models and noise: time does not depend on the values of weights and samples.

`HubertBase` has HuBERT base's size and random weights; `HubertTiny` is the same network at a hundredth of it, for trying a
script out. `Numbers` answers with random numbers of HuBERT base's shape at once: stored features as large as the real ones,
without the time to make them. All are specs of `--upstream`: `benchmarks/synthetic.py:HubertBase`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn
from torchaudio import models, pipelines

from superbench import SAMPLE_RATE, Audio, Features, plugins
from superbench.plugins import Loaded
from superbench.system.cores import cores
from superbench.system.seeding import seeded
from upstream.from_torchaudio import Config, TorchaudioModel

BASE = f"{__file__}:HubertBase"
NUMBERS = f"{__file__}:Numbers"
VIEW, VIEW_320 = f"{__file__}:WaveView", f"{__file__}:View320"


@dataclass(frozen=True, slots=True)
class Corpus:
    """Mean seconds of an utterance; hours of train, dev and test in the miniature and in the real corpus; folds."""

    seconds: float
    miniature: float
    official: float
    folds: int = 1


CORPORA = {
    "ks": Corpus(1.0, 0.46, 17),
    "ic": Corpus(2.3, 0.91, 19),
    "sid": Corpus(8.2, 0.80, 351),
    "er": Corpus(4.5, 0.59, 7, folds=5),
}
"""Official figures are those of the corpora's publications; ER's sweep is trained once for each of its five folds."""


class HubertBase(TorchaudioModel):
    """HuBERT base (12 layers of 768, 95 million weights) as it is before training."""

    def __init__(self) -> None:
        with seeded(0):
            super().__init__(models.hubert_base(), Config("hubert_base", False, {"weights": "random"}))


class HubertTiny(TorchaudioModel):
    """HuBERT with 2 layers of 32 and narrow convolutions."""

    def __init__(self) -> None:
        sizes = {
            "extractor_conv_layer_config": [(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2,
            "encoder_embed_dim": 32, "encoder_num_layers": 2, "encoder_num_heads": 4, "encoder_ff_interm_features": 64,
            "encoder_pos_conv_kernel": 16, "encoder_pos_conv_groups": 4,
        }  # fmt: skip
        with seeded(0):
            model = models.wav2vec2_model(**{**pipelines.HUBERT_BASE._params, **sizes})
            super().__init__(model, Config("hubert_tiny", False, {"weights": "random"}))


class Numbers(nn.Module):
    """13 layers of 768 random numbers for every frame of 20 ms."""

    sample_rate, hop, layers, dim = SAMPLE_RATE, 320, 13, 768

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """The same numbers for the same batch shape; (13, batch, time, 768)."""
        frames = (lengths / self.hop).round().long().clamp(min=1)
        with seeded(0):
            numbers = torch.empty(self.layers, len(waves), int(frames.max()), self.dim, device=waves.device).uniform_(-1, 1)
        return Features(numbers, frames)


def upstream(spec: str, device: str) -> Loaded:
    """The upstream of a spec, frozen, on the device."""
    return plugins.upstream(plugins.parse(spec), device)


class WaveView(nn.Module):
    """A model that costs nothing: its frames are a view of the waveform, the same for every layer."""

    sample_rate, hop = SAMPLE_RATE, 320

    def __init__(self, layers: int = 13, dim: int = 768) -> None:
        super().__init__()
        self.layers, self.dim = layers, dim

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """`dim` samples from every 320th on; (layers, batch, time, dim). The last one or two frames are left out:
        they need more."""
        frames = (lengths - self.dim) // self.hop + 1
        shape = (self.layers, len(waves), int(frames.max()), self.dim)
        return Features(waves.as_strided(shape, (0, waves.shape[1], self.hop, 1)), frames)


class View320(WaveView):
    """One layer of the 320 samples of each frame."""

    def __init__(self) -> None:
        super().__init__(1, 320)


def voices(folder: Path, count: int, seconds: float, seed: int = 0) -> list[Audio]:
    """`count` flac files of about `seconds` each: noise through a resonance, in syllables. They are compressed as recorded
    speech is, to about 10 bits a sample, while flac leaves plain noise as it is."""
    from scipy.signal import lfilter

    def write(number: int) -> Audio:
        random, path = np.random.default_rng([seed, number]), folder / f"{seed}-{number}.flac"
        samples = round(seconds * SAMPLE_RATE * random.uniform(0.7, 1.3))
        syllables = 0.3 + np.abs(np.sin(2 * np.pi * 2 * np.arange(samples) / SAMPLE_RATE))
        wave = lfilter([1.0], [1.0, -1.6, 0.8], random.normal(0, 0.01, samples)) * syllables
        soundfile.write(path, wave.clip(-1, 1).astype(np.float32), SAMPLE_RATE, "PCM_16")
        return Audio(path)

    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(cores()) as threads:
        return list(threads.map(write, range(count)))


def sounds(folder: Path, count: int, seconds: float, seed: int = 0, kind: str = "wav") -> list[Audio]:
    """`count` files of noise of about `seconds` each (a tenth more or less), as 16-bit sound at 16 kHz."""
    return [Audio(path) for path in _written(folder, count, seconds, seed, kind)]


def _written(folder: Path, count: int, seconds: float, seed: int, kind: str) -> Iterator[Path]:
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        samples = round(seconds * SAMPLE_RATE * random.uniform(0.9, 1.1))
        path = folder / f"{seed}-{number}.{kind}"
        soundfile.write(path, random.normal(0, 0.1, samples).clip(-1, 1).astype(np.float32), SAMPLE_RATE, "PCM_16")
        yield path
