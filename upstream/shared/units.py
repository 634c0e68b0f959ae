"""What speech GPT and HuBERT share: discrete units, found by k-means in the sound that a model is pretrained on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Units(nn.Module):
    """Vectors (..., dim) → the number of the nearest of `count` centroids (...).

    Centroids are buffers: random at first (what an untrained model has), then those that `fit` finds.
    """

    centroids: Tensor

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("centroids", torch.randn(count, dim))

    def fit(self, vectors: Iterable[Tensor], seed: int) -> None:
        """k-means (Sculley 2010, "Web-scale k-means clustering") over all vectors (time, dim); the same for the same seed.

        Sound that holds fewer vectors than there are units leaves the rest of the centroids where they were.
        """
        from sklearn.cluster import MiniBatchKMeans  # takes a second to import, and only pretraining needs it

        data = torch.cat(list(vectors)).double().cpu().numpy()
        count = min(len(self.centroids), len(data))
        means = MiniBatchKMeans(count, random_state=seed, batch_size=4096, n_init=3, max_iter=20)
        means.fit(data)
        self.centroids[:count] = torch.from_numpy(means.cluster_centers_).to(self.centroids)

    def forward(self, vectors: Tensor) -> Tensor:
        """Squared distances without the vectors' own norm, which moves no minimum; in float32, lest neighbours be mixed up."""
        with torch.autocast(vectors.device.type, enabled=False):
            return (self.centroids.square().sum(-1) - 2 * vectors.float() @ self.centroids.T).argmin(-1)
