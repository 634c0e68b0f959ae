"""Where a frame stands, as numbers: what every Transformer over frames or units adds to its input."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def positions(time: int, width: int, device: torch.device) -> Tensor:
    """Sinusoidal positions (time, width): sines in even, cosines in odd places (Vaswani et al. 2017, section 3.5)."""
    place = torch.arange(time, device=device)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10_000) / width))[None]
    return torch.stack([torch.sin(place * rate), torch.cos(place * rate)], dim=-1).flatten(1)
