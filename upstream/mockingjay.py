"""Mockingjay, "speech BERT": a bidirectional Transformer that reconstructs masked frames of the spectrum.

Liu, Yang, Chi, Hsu, Lee (2020), arXiv 1910.12638. 15 % of the frames are hidden in spans of seven; L1 loss on them. `base` has
the published size (12 layers of 768, 85 M weights, 13 hidden states, 10 ms); `mini` reads two stacked frames (20 ms).
"""

from __future__ import annotations

from typing import ClassVar

from superbench import Pretraining
from upstream.shared.masked import MaskedConfig, MaskedTransformer


class Mockingjay(MaskedTransformer):
    """Masked along time."""

    configs: ClassVar = {
        "mini": MaskedConfig(stack=2, width=192, layers=3, heads=4, feedforward=768, dropout=0.0, span=4),
        "base": MaskedConfig(),
    }
    pretraining: ClassVar = {
        "mini": Pretraining(steps=700, batch=8, seconds=2.0, learning_rate=1e-3),
        "base": Pretraining(steps=500_000, batch=32, seconds=15.0, learning_rate=4e-4, whole_utterances=True),
    }
