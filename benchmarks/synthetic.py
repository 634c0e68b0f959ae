"""Random models and noise: time does not depend on the values of weights and samples.

`HubertBase` has HuBERT base's size and random weights; `HubertTiny` is the same network at a hundredth of it, for trying a
script out. `Numbers` answers with random numbers of HuBERT base's shape at once: stored features as large as the real ones,
without the time to make them. All are specs of `--upstream`: `benchmarks/synthetic.py:HubertBase`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn
from torchaudio import models, pipelines

from superbench import SAMPLE_RATE, Audio, Features, plugins
from superbench.plugins import Loaded
from superbench.system.seeding import seeded
from upstream.from_torchaudio import Config, TorchaudioModel

BASE = f"{__file__}:HubertBase"
NUMBERS = f"{__file__}:Numbers"


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
