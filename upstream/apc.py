"""APC, autoregressive predictive coding: recurrent layers that predict the spectrum a few frames ahead.

Chung, Hsu, Tang, Glass (2019), "An unsupervised autoregressive model for speech representation learning", arXiv 1904.03240.
`base` is the published size (three GRU layers of 512 with residual connections, five frames of 10 ms ahead, 4.11 M weights
with the prediction). `mini` reads two stacked frames (20 ms) and is meant for the miniature corpora; `micro` and `nano` have
about a quarter and a sixteenth of its weights, for curves over sizes.
"""

from __future__ import annotations

from typing import ClassVar

from superbench import Pretraining
from upstream.shared.recurrent import RecurrentConfig, RecurrentPredictor


class Apc(RecurrentPredictor):
    """Predicts from the last layer directly."""

    configs: ClassVar = {
        "nano": RecurrentConfig(stack=2, width=48, dropout=0.0, ahead=3),
        "micro": RecurrentConfig(stack=2, width=112, dropout=0.0, ahead=3),
        "mini": RecurrentConfig(stack=2, width=256, dropout=0.0, ahead=3),
        "base": RecurrentConfig(),
    }
    pretraining: ClassVar = {
        **dict.fromkeys(("nano", "micro", "mini"), Pretraining(steps=500, batch=8, seconds=2.0, learning_rate=2e-3)),
        "base": Pretraining(steps=100_000, batch=32, seconds=15.0, learning_rate=1e-4, whole_utterances=True),
    }
