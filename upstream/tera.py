"""TERA, Transformer encoder representations from alteration: Mockingjay's masks along time, and masks along frequency too.

Liu, Li, Lee (2021), arXiv 2007.06028. Besides the frames (15 %, spans of seven) a block of up to 20 % of the bands is hidden.
`base` has the published size (3 layers of 768, 21.3 M weights, 4 hidden states, 10 ms); `mini` reads two stacked frames (20
ms).
"""

from __future__ import annotations

from typing import ClassVar

from superbench import Pretraining
from upstream.shared.masked import MaskedConfig, MaskedTransformer


class Tera(MaskedTransformer):
    """Masked along time and frequency."""

    configs: ClassVar = {
        "mini": MaskedConfig(stack=2, width=192, layers=3, heads=4, feedforward=768, dropout=0.0, span=4, bands=0.2),
        "base": MaskedConfig(layers=3, bands=0.2),
    }
    pretraining: ClassVar = {
        "mini": Pretraining(steps=700, batch=8, seconds=2.0, learning_rate=1e-3),
        "base": Pretraining(steps=1_000_000, batch=32, seconds=15.0, learning_rate=2e-4, whole_utterances=True),
    }
