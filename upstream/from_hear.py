"""Models with the HEAR interface: `hear/MODULE`, `hear/MODULE@WEIGHTS` (`load_model`, `get_timestamp_embeddings`).

In HEAR (Turian et al. 2022, arXiv 2203.03022), a Python module has `load_model(path) -> model`, with `model.sample_rate`, and
`get_timestamp_embeddings(audio, model) -> (embeddings, timestamps in ms)`. Embeddings (sound, time, dim) are the only state.
The hop is the median difference of the timestamps; frame t is the embedding nearest to `t * hop` after the first timestamp.
Only sounds of equal length share a batch.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from superbench import BadCheckpoint, BadUpstream, CommandError, Features, SuperbenchError
from upstream.shared.unpadded import without_padding

FUNCTIONS = ("load_model", "get_timestamp_embeddings")
SECONDS = 3
"""Length of the noise on which hop and size are measured."""


@dataclass(frozen=True)
class Config:
    """What the weights do not contain: the module, a digest of its file, and one of the file of weights."""

    module: str
    code: str
    weights: str | None


class HearModel(nn.Module):
    """A model with the HEAR interface as an upstream; (1, batch, time, dim)."""

    layers = 1

    def __init__(self, module: ModuleType, model: Any, config: Config) -> None:
        super().__init__()
        self.config, self.model, self.embed = config, model, module.get_timestamp_embeddings
        self.sample_rate = int(model.sample_rate)
        noise = 0.1 * torch.randn(1, SECONDS * self.sample_rate, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            embeddings, times = self._embedded(noise)
        steps = times.diff()
        if len(times) < 2 or not bool((steps > 0).all()):
            raise BadUpstream(f"hear/{config.module} gives no rising timestamps for {SECONDS} s of noise, so it has no frames.")
        self.hop = max(round(float(steps.median()) * self.sample_rate / 1000), 1)
        self.dim = embeddings.shape[2]

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the embeddings of a batch."""
        features = without_padding(waves, lengths, self._states)
        own = torch.div(lengths + self.hop - 1, self.hop, rounding_mode="floor").to(features.lengths)
        return Features(features.frames, torch.minimum(features.lengths, own))

    def _states(self, waves: Tensor) -> Tensor:
        embeddings, times = self._embedded(waves)
        step = 1000 * self.hop / self.sample_rate
        count = max(round(float(times[-1] - times[0]) / step) + 1, 1)
        wanted = times[0] + step * torch.arange(count, device=times.device)
        nearest = (wanted[:, None] - times).abs().argmin(1)
        return embeddings[None, :, nearest]  # (1, batch, time, dim)

    def _embedded(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Returns embeddings (batch, time, dim), and timestamps (time,) in milliseconds."""
        embeddings, times = self.embed(waves, self.model)
        return embeddings.float(), times.reshape(-1, embeddings.shape[1])[0].double()


def load(name: str, weights: Path | None) -> HearModel:
    """Loads the model of a module. Raises `SuperbenchError` if it cannot be imported, `CommandError` if it has not the HEAR
    interface, `BadCheckpoint` if the file of weights does not exist."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise CommandError(f"hear/{name}: expected the name of a Python module, as in hear/hearbaseline.wav2vec2.")
    if weights is not None and not weights.exists():
        raise BadCheckpoint(f"{weights} does not exist. Expected the weights that load_model of {name} reads.")
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise SuperbenchError(
            f"hear/{name} cannot be imported ({type(error).__name__}: {error}). Install the package of the model, or run in "
            "its folder with PYTHONPATH=."
        ) from error
    if missing := [function for function in FUNCTIONS if not callable(getattr(module, function, None))]:
        raise CommandError(f"hear/{name} has no {' and no '.join(missing)}: it does not have the HEAR interface.")
    model = module.load_model(str(weights)) if weights else module.load_model()
    if not isinstance(getattr(model, "sample_rate", None), int):
        raise CommandError(f"hear/{name}: its model has no sample_rate; the HEAR interface requires one.")
    return HearModel(module, model, Config(name, _digest(Path(inspect.getfile(module))), _digest(weights) if weights else None))


def _digest(path: Path) -> str:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
