"""Makes an upstream of a plain function, `spectrum(waves, lengths) -> Features`. What it does not declare is measured."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Features
from superbench.errors import BrokenPlugin
from superbench.plugins.doctor.alignment import BadOutput, require_features

DECLARED = ("sample_rate", "hop", "layers", "dim")
SECONDS = 10
"""Difference in length of the two sounds from whose frame counts the hop is computed."""


class PlainFunction:
    """An upstream made of a function that need not declare sample rate, hop, layers and dim.

    Layers and dim are read from the shape of its output; the hop is computed from the frames of ten additional seconds.
    Attributes of the function (`spectrum.hop = 160`) have priority. Raises `BrokenPlugin` for a function that does not return
    `Features`.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Features]) -> None:
        self.function = function
        features = self._called(SAMPLE_RATE)
        measured = {"sample_rate": SAMPLE_RATE, "layers": features.frames.shape[0], "dim": features.frames.shape[3]}
        if not hasattr(function, "hop"):
            measured["hop"] = self._hop(int(features.lengths[0]))
        declared = {name: getattr(function, name) for name in DECLARED if hasattr(function, name)}
        facts = measured | declared
        self.sample_rate, self.hop, self.layers, self.dim = (facts[name] for name in DECLARED)

    def _hop(self, short: int) -> int:
        long = int(self._called((1 + SECONDS) * SAMPLE_RATE).lengths[0])
        if long <= short or SECONDS * SAMPLE_RATE % (long - short):
            raise BrokenPlugin(
                f"The function {self.function.__name__!r} returns {short} frames for 1 s and {long} for {1 + SECONDS} s: the "
                f"hop would not be a whole number of samples. Declare it: {self.function.__name__}.hop = 320"
            )
        return SECONDS * SAMPLE_RATE // (long - short)

    def __call__(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the function's features."""
        return self.function(waves, lengths)

    def _called(self, samples: int) -> Features:
        noise = torch.randn(1, samples, generator=torch.Generator().manual_seed(0)) * 0.1
        name = self.function.__name__
        try:
            with torch.inference_mode():
                features = self.function(noise, torch.tensor([samples]))
        except Exception as error:
            raise BrokenPlugin(
                f"The function {name!r} raised {type(error).__name__}: {error}. An upstream is called with waves (batch, "
                "samples) and lengths (batch)."
            ) from error
        try:
            require_features(features)
        except BadOutput as error:
            raise BrokenPlugin(f"The function {name!r} {error}.") from error
        return features
