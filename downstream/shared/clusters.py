"""Two clusters of the smoothed frames of a recording, for SD without a gradient."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from superbench import SAMPLE_RATE, Setting

UPDATES = 10
"""Updates of the two centroids, at most."""


class Smoothed:
    """The frames of one recording, smoothed and clustered as settings say, each once for all settings that differ otherwise."""

    def __init__(self, frames: Tensor, loud: np.ndarray, hop: int) -> None:
        self.frames, self.loud, self.hop = frames, torch.from_numpy(loud), hop
        self._smoothed: dict[tuple[float, float], Tensor] = {}
        self._clustered: dict[tuple[float, float], Tensor] = {}

    def at(self, setting: Setting) -> Tensor:
        """Returns the smoothed frames, (time, dim)."""
        key = setting["gate"], setting["smooth"]
        if key not in self._smoothed:
            width = setting["smooth"] * SAMPLE_RATE / self.hop
            self._smoothed[key] = smoothed(self.frames, self.loud > setting["gate"], width)
        return self._smoothed[key]

    def clusters(self, setting: Setting) -> Tensor:
        """Returns the centroids (2, dim) of two clusters of the spoken frames."""
        key = setting["gate"], setting["smooth"]
        if key not in self._clustered:
            self._clustered[key] = two_means(self.at(setting)[self.loud > setting["gate"]])
        return self._clustered[key]


def smoothed(frames: Tensor, spoken: Tensor, width: float) -> Tensor:
    """Returns for each frame the mean of the spoken frames at most width / 2 away, (time, dim); 0 where there are none."""
    half = max(round(width / 2), 1)
    weights = torch.cat([frames * spoken[:, None], spoken[:, None].float()], 1).double()
    sums = torch.cat([torch.zeros(1, weights.shape[1]), weights.cumsum(0)])
    times = torch.arange(len(frames))
    window = sums[(times + half + 1).clamp(max=len(frames))] - sums[(times - half).clamp(min=0)]
    return (window[:, :-1] / window[:, -1:].clamp(min=1)).float()


def two_means(frames: Tensor) -> Tensor:
    """Returns the centroids (2, dim) of two clusters of frames (time, dim), parted at first across the widest direction."""
    if len(frames) < 2:
        return torch.zeros(2, frames.shape[1])
    centred = frames - frames.mean(0)
    direction = centred[centred.square().sum(1).argmax()]
    for _ in range(20):  # power iteration for the first principal component
        direction = torch.nn.functional.normalize(centred.T @ (centred @ direction), dim=0)
    second = centred @ direction > 0
    for _ in range(UPDATES):
        if second.all() or not second.any():
            break
        centroids = torch.stack([frames[~second].mean(0), frames[second].mean(0)])
        second = _closer(frames, centroids)
    return centroids if 0 < int(second.sum()) < len(frames) else frames.mean(0).expand(2, -1)


def _closer(frames: Tensor, centroids: Tensor) -> Tensor:
    """Returns which frames (time,) are nearer to the second centroid."""
    distances = centroids.square().sum(1) - 2 * frames @ centroids.T
    return distances[:, 1] < distances[:, 0]
