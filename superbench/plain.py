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
        counts = []
        for seconds in (1, 1 + SECONDS):
            features = self._called(seconds * SAMPLE_RATE)
            counts.append(int(features.lengths[0]))
        gained = counts[1] - counts[0]
        if gained <= 0 or SECONDS * SAMPLE_RATE % gained:
            raise BrokenPlugin(
                f"The function {function.__name__!r} gives {counts[0]} frames for 1 s and {counts[1]} for {1 + SECONDS} s, "
                f"from which no whole hop follows. Declare it: {function.__name__}.hop = 320"
            )
        measured = (SAMPLE_RATE, SECONDS * SAMPLE_RATE // gained, features.frames.shape[0], features.frames.shape[3])
        found = {name: getattr(function, name, value) for name, value in zip(DECLARED, measured, strict=True)}
        self.sample_rate, self.hop, self.layers, self.dim = (found[name] for name in DECLARED)

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
