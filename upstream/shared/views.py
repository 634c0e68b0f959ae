"""Random views of an utterance: changes that may occur between two recordings of the same speech.

All random numbers are drawn per utterance from torch's generator. A view depends only on its utterance, except for the
utterance that `mixed` adds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def gained(waves: Tensor, decibels: float) -> Tensor:
    """Makes each wave (batch, samples) louder or quieter by up to this many decibels."""
    gain = (2 * torch.rand(len(waves), 1, device=waves.device) - 1) * decibels
    return waves * 10 ** (gain / 20)


def cropped(waves: Tensor, lengths: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Cuts a random piece of each wave, at least the fraction `least` of its length."""
    share = least + (1 - least) * torch.rand(len(waves), device=waves.device)
    samples = (share * lengths).long().clamp(min=1)
    start = (torch.rand(len(waves), device=waves.device) * (lengths - samples + 1)).long()
    offsets = torch.arange(int(samples.max()), device=waves.device)[None]
    pieces = waves.gather(1, (start[:, None] + offsets).clamp(max=waves.shape[1] - 1))
    return pieces * (offsets < samples[:, None]), samples


def mixed(waves: Tensor, lengths: Tensor, loud: float, quiet: float) -> Tensor:
    """Mixes another utterance of the batch under each one, `loud` to `quiet` decibels below it, over the same length.

    In a batch of one, and for silence, the wave does not change.
    """
    if len(waves) == 1:
        return waves
    mate = waves.roll(int(torch.randint(1, len(waves), ())), 0)
    inside = torch.arange(waves.shape[1], device=waves.device)[None] < lengths[:, None]
    mate = mate * inside
    below = loud + (quiet - loud) * torch.rand(len(waves), 1, device=waves.device)
    ratio = (_power(waves) / _power(mate).clamp(min=1e-12)).sqrt() * 10 ** (-below / 20)
    return waves + mate * ratio


def masked(mel: Tensor, frames: Tensor, bins: int, spans: int, time: float, bands: float) -> Tensor:
    """Applies SpecAugment's masks (Park et al. 2019, arXiv 1904.08779) to (batch, time, bins · stack).

    `spans` spans of up to `time`
    of an utterance's own frames and one block of up to `bands` of the bands become zero, the mean of a normalised spectrum."""
    place = torch.arange(mel.shape[1], device=mel.device)[None]
    hidden = torch.zeros(mel.shape[:2], dtype=torch.bool, device=mel.device)
    for _ in range(spans):
        width = torch.rand(len(mel), 1, device=mel.device) * time * frames[:, None]
        start = torch.rand(len(mel), 1, device=mel.device) * (frames[:, None] - width)
        hidden |= (place >= start) & (place < start + width)
    width = torch.rand(len(mel), 1, device=mel.device) * bands * bins
    start = torch.rand(len(mel), 1, device=mel.device) * (bins - width)
    band = torch.arange(bins, device=mel.device)[None]
    blocked = ((band >= start) & (band < start + width)).repeat(1, mel.shape[2] // bins)
    return mel.masked_fill(hidden[..., None] | blocked[:, None], 0.0)


def resized(mel: Tensor, frames: Tensor, time: tuple[float, float], bands: tuple[float, float]) -> Tensor:
    """Applies a random resize crop to (batch, time, bins), as in BYOL-A (Niizumi et al. 2021).

    A window of random size and position on each spectrum is stretched to the size of the spectrum; values outside the spectrum
    are zero. `time` and `bands` bound the size of the window relative to the spectrum; speed and pitch change slightly.
    """
    count, longest, bins = mel.shape
    high = _between(count, bands, mel.device)
    wide = _between(count, time, mel.device)
    low = torch.rand(count, device=mel.device) * (1 - high).abs() * torch.where(high < 1, 1, -1)  # where the window begins
    early = torch.rand(count, device=mel.device) * (1 - wide).abs() * torch.where(wide < 1, 1, -1)
    across = (low[:, None] + high[:, None] * (torch.arange(bins, device=mel.device) + 0.5) / bins) * bins - 0.5
    own = frames[:, None].to(mel.dtype)
    along = early[:, None] * own + wide[:, None] * (torch.arange(longest, device=mel.device) + 0.5) - 0.5
    inside = torch.arange(longest, device=mel.device)[None] < frames[:, None]
    grid = torch.stack(
        [
            ((across + 0.5) / bins * 2 - 1)[:, None].expand(-1, longest, -1),
            ((along + 0.5) / longest * 2 - 1)[:, :, None].expand(-1, -1, bins),
        ],
        dim=-1,
    )  # (batch, time, bins, 2): x runs over the bands, y over time
    stretched = nn.functional.grid_sample(mel[:, None], grid, align_corners=False)[:, 0]
    return stretched * inside[..., None]


def pooled(hidden: Tensor, frames: Tensor) -> Tensor:
    """Computes the mean over the frames of each utterance: (batch, time, dim) → (batch, dim)."""
    inside = (torch.arange(hidden.shape[1], device=hidden.device)[None] < frames[:, None])[..., None]
    return (hidden * inside).sum(1) / frames[:, None].clamp(min=1)


def _between(count: int, bounds: tuple[float, float], device: torch.device) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(count, device=device)


def _power(waves: Tensor) -> Tensor:
    return waves.square().sum(1, keepdim=True)
