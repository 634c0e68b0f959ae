"""Discrete units of speech GPT and HuBERT, found by k-means in the sound that a model is pretrained on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Units(nn.Module):
    """Vectors (..., dim) → the number of the nearest of `count` centroids (...).

    Centroids are buffers: random at first (as in an untrained model), later those that `fit` finds.
    """

    centroids: Tensor

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("centroids", torch.randn(count, dim))

    def fit(self, vectors: Iterable[Tensor], seed: int) -> None:
        """Runs k-means (Sculley 2010, "Web-scale k-means clustering") over all vectors (time, dim); deterministic for a seed.

        If there are fewer vectors than units, the remaining centroids do not change.
        """
        from sklearn.cluster import MiniBatchKMeans  # the import takes a second, and only pretraining needs it

        data = torch.cat(list(vectors)).double().cpu().numpy()
        count = min(len(self.centroids), len(data))
        means = MiniBatchKMeans(count, random_state=seed, batch_size=4096, n_init=3, max_iter=20)
        means.fit(data)
        self.centroids[:count] = torch.from_numpy(means.cluster_centers_).to(self.centroids)

    def forward(self, vectors: Tensor) -> Tensor:
        """Compares squared distances without the norm of the vectors, which changes no minimum.

        In float32, to separate neighbours.
        """
        with torch.autocast(vectors.device.type, enabled=False):
            return (self.centroids.square().sum(-1) - 2 * vectors.float() @ self.centroids.T).argmin(-1)
