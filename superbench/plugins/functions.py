"""A plain function as an upstream: `spectrum(waves, lengths) -> Features`. What it does not declare is measured."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Features
from superbench.errors import BrokenPlugin

DECLARED = ("sample_rate", "hop", "layers", "dim")
SECONDS = 10
"""How much longer the second of two sounds is, whose frames tell the hop."""


class PlainFunction:
    """A function that keeps the contract of an upstream but for its declarations.

    Layers and dim are the shape of what it returns; the hop is what ten seconds more are divided into. Attributes that the
    function has (`spectrum.hop = 160`) come first. Raises `BrokenPlugin` for a function that returns something else.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Features]) -> None:
        self.function = function
        features = self._called(SAMPLE_RATE)
        measured = {"sample_rate": SAMPLE_RATE, "layers": features.frames.shape[0], "dim": features.frames.shape[3]}
        if not hasattr(function, "hop"):
            measured["hop"] = self._hop(int(features.lengths[0]))
        declared = {name: getattr(function, name) for name in DECLARED if hasattr(function, name)}
        found = measured | declared
        self.sample_rate, self.hop, self.layers, self.dim = (found[name] for name in DECLARED)

    def _hop(self, before: int) -> int:
        after = int(self._called((1 + SECONDS) * SAMPLE_RATE).lengths[0])
        if after <= before or SECONDS * SAMPLE_RATE % (after - before):
            raise BrokenPlugin(
                f"The function {self.function.__name__!r} gives {before} frames for 1 s and {after} for {1 + SECONDS} s, from "
                f"which no whole hop follows. Declare it: {self.function.__name__}.hop = 320"
            )
        return SECONDS * SAMPLE_RATE // (after - before)

    def __call__(self, waves: Tensor, lengths: Tensor) -> Features:
        """What the function says."""
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
        if not isinstance(features, Features) or features.frames.dim() != 4:
            raise BrokenPlugin(
                f"The function {name!r} returned {type(features).__name__}. An upstream returns superbench.Features(frames, "
                "lengths), frames of shape (layer, batch, time, dim)."
            )
        return features
