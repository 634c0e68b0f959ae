"""Gives a model that declares another `sample_rate` than 16 kHz its sound at that rate.

The sound of every task has 16 kHz; a model at 24 kHz gets it resampled, so nothing above 8 kHz is in it. All that the engine
and the tasks see stays in samples at 16 kHz: a hop of 480 samples at 24 kHz is one of 320.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torchaudio.transforms import Resample

from superbench.contract import SAMPLE_RATE, Continuing, Features
from superbench.errors import BrokenPlugin

RATES = (1_000, 192_000)
"""Hz: the lowest and the highest rate that a model may declare."""
LARGEST_BANK = 500_000
"""Number of products of the reduced rates, 160 · 441 for 44.1 kHz, above which a filter bank would be too large."""


class Resampled(nn.Module):
    """A model at `rate` Hz as an upstream at 16 kHz.

    A hop that is not a whole number of samples at 16 kHz (320 at 24 kHz is 213.33) is rounded: frame t of the result is the
    frame of the model that covers sample `t * hop`.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.rate, self.inner_hop = model.sample_rate, model.hop
        self.layers, self.dim = model.layers, model.dim
        self.hop = max(round(model.hop * SAMPLE_RATE / self.rate), 1)
        self.resample = Resample(SAMPLE_RATE, self.rate)

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the features of waves (batch, samples) at 16 kHz."""
        inner = torch.div(lengths * self.rate + SAMPLE_RATE - 1, SAMPLE_RATE, rounding_mode="floor")
        with torch.autocast(waves.device.type, enabled=False):
            sound = self.resample(waves)[:, : int(inner.max())]
        keep = torch.arange(sound.shape[1], device=waves.device) < inner[:, None]
        features = self.model(sound * keep, inner)
        if self.hop * self.rate == self.inner_hop * SAMPLE_RATE or not isinstance(features, Features):
            return features
        return self._on_grid(features, lengths)

    def _on_grid(self, features: Features, lengths: Tensor) -> Features:
        """Returns one frame every `hop` samples at 16 kHz."""
        step, inner_step = self.hop * self.rate, self.inner_hop * SAMPLE_RATE  # both in units of 1 / (16 000 · rate) seconds
        counts = torch.div(2 * features.lengths * inner_step + step, 2 * step, rounding_mode="floor")
        most = torch.div(lengths + self.hop - 1, self.hop, rounding_mode="floor").to(counts.device)
        counts = counts.minimum(most).clamp(min=1)
        at = torch.arange(int(counts.max()), device=features.frames.device) * step // inner_step
        return Features(features.frames[:, :, at.clamp(max=features.frames.shape[2] - 1)], counts)


def at_16_khz(model: Any, name: str) -> Any:
    """Returns the model as an upstream at 16 kHz; a model of this rate, or one that continues prompts, as it is.

    Raises `BrokenPlugin` for a rate that no recording has.
    """
    rate = model.sample_rate
    if rate == SAMPLE_RATE or isinstance(model, Continuing):
        return model
    common = math.gcd(rate, SAMPLE_RATE)
    if not RATES[0] <= rate <= RATES[1] or (rate // common) * (SAMPLE_RATE // common) > LARGEST_BANK:
        raise BrokenPlugin(
            f"{name} declares a sample rate of {rate} Hz, to which sound of {SAMPLE_RATE} Hz is not resampled. Expected a rate "
            "of recordings, such as 8000, 24000, 44100 or 48000."
        )
    return Resampled(model)
