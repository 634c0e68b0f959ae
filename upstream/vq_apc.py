"""VQ-APC: APC with a codebook before the prediction, so that the layer below it clusters sounds into classes.

Chung, Tang, Glass (2020), "Vector-quantized autoregressive predictive coding", arXiv 2005.08392. A Gumbel quantiser (Jang, Gu,
Poole 2017, arXiv 1611.01144) stands between the last layer and the prediction. Hidden states are those before it, as in APC.
`base` is the published size (512 codes, temperature 0.5, 4.63 M weights with quantiser and prediction); `mini` reads two
stacked frames (20 ms) and draws its codes at temperature 1. In so short a training, every seed then learns to predict more than
the mean spectrum; at temperature 0.5 only some seeds do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from superbench import Pretraining
from upstream.shared.recurrent import RecurrentConfig, RecurrentPredictor


@dataclass(frozen=True)
class VqApcConfig(RecurrentConfig):
    """APC's sizes, and those of the codebook."""

    codes: int = 512
    temperature: float = 0.5


class Quantiser(nn.Module):
    """Replaces each frame by one of `codes` vectors: drawn in training (straight-through), the most likely in evaluation."""

    def __init__(self, width: int, codes: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.logits = nn.Linear(width, codes)
        self.codebook = nn.Linear(codes, width, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """Maps (batch, time, width) → the same shape."""
        logits = self.logits(states)
        if self.training:
            return self.codebook(nn.functional.gumbel_softmax(logits, self.temperature, hard=True))
        return nn.functional.embedding(logits.argmax(-1), self.codebook.weight.T)


class VqApc(RecurrentPredictor):
    """Predicts from the code of the last layer."""

    configs: ClassVar = {
        "mini": VqApcConfig(stack=2, width=256, dropout=0.0, ahead=3, codes=128, temperature=1.0),
        "base": VqApcConfig(),
    }
    pretraining: ClassVar = {
        "mini": Pretraining(steps=500, batch=8, seconds=2.0, learning_rate=2e-3),
        "base": Pretraining(steps=100_000, batch=32, seconds=15.0, learning_rate=1e-4),
    }

    def __init__(self, config: VqApcConfig) -> None:
        super().__init__(config)
        self.quantiser = Quantiser(config.width, config.codes, config.temperature)

    def predicted(self, state: Tensor) -> Tensor:
        """Predicts the spectrum from the code of the last hidden state."""
        return self.predict(self.quantiser(state))
