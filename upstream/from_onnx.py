"""Models in ONNX files: `onnx/FILE.onnx`, computed by onnxruntime on the CPU (extra `onnx`).

Inputs: waves (batch, samples) float32, and perhaps lengths (batch) int64. Outputs: one of rank 4 (layer, batch, time, dim), or
one of rank 3 (batch, time, dim) for each hidden state; outputs of other ranks are left out. The metadata of the model may give
`sample_rate` (default 16000) and `hop` in samples; otherwise the hop is measured. Only sounds of equal length share a batch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE, BadCheckpoint, BadUpstream, CommandError, Features, MissingExtra
from upstream.shared.unpadded import without_padding

SECONDS = (1, 11)
"""Lengths of the noise on which the hop is measured."""


@dataclass(frozen=True)
class Config:
    """The digest of the file, which contains all that determines the features."""

    file: str


class OnnxModel(nn.Module):
    """A model in an ONNX file as an upstream."""

    def __init__(self, session: Any, config: Config, name: str) -> None:
        super().__init__()
        self.session, self.config, self.name = session, config, name
        self.inputs = [entry.name for entry in session.get_inputs()]
        facts = session.get_modelmeta().custom_metadata_map
        self.sample_rate = int(facts.get("sample_rate", SAMPLE_RATE))
        short, long = (self._states(self._noise(seconds)) for seconds in SECONDS)
        self.layers, self.dim = long.shape[0], long.shape[3]
        self.hop = int(facts["hop"]) if "hop" in facts else self._hop(short.shape[2], long.shape[2])

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch."""
        features = without_padding(waves, lengths, self._states)
        own = torch.div(lengths + self.hop - 1, self.hop, rounding_mode="floor").to(features.lengths)
        return Features(features.frames, torch.minimum(features.lengths, own))

    def _states(self, waves: Tensor) -> Tensor:
        lengths = torch.full((len(waves),), waves.shape[1])
        values = (waves.float().cpu().numpy(), lengths.numpy())
        outputs = [torch.from_numpy(array) for array in self.session.run(None, dict(zip(self.inputs, values, strict=False)))]
        stacked = next((output for output in outputs if output.dim() == 4), None)
        single = [output for output in outputs if output.dim() == 3]
        if stacked is None and not single:
            ranks = ", ".join(str(output.dim()) for output in outputs)
            raise BadUpstream(
                f"{self.name} has outputs of rank {ranks}: expected (layer, batch, time, dim), or (batch, time, dim)."
            )
        return (torch.stack(single) if stacked is None else stacked).float().to(waves.device)

    def _noise(self, seconds: int) -> Tensor:
        return 0.1 * torch.randn(1, seconds * self.sample_rate, generator=torch.Generator().manual_seed(0))

    def _hop(self, short: int, long: int) -> int:
        samples = (SECONDS[1] - SECONDS[0]) * self.sample_rate
        if long <= short:
            raise BadUpstream(f"{self.name} gives {short} frames for {SECONDS[0]} s and {long} for {SECONDS[1]} s.")
        return round(samples / (long - short))


def load(name: str, weights: Path | None) -> OnnxModel:
    """Loads the model of an ONNX file. Raises `MissingExtra` without onnxruntime, `BadCheckpoint` for a file that is missing or
    damaged, `CommandError` for inputs that are no waves."""
    if weights is not None:
        raise CommandError(f"onnx/{name} takes no @FILE: the name is the file, onnx/{weights}.")
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra(f"onnx/{name}", "onnxruntime", "onnx") from error
    path = Path(name).expanduser()
    if not path.is_file():
        raise BadCheckpoint(f"{path} does not exist. Expected onnx/FILE.onnx.")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BadCheckpoint(
            f"{path} is no model that onnxruntime can read ({type(error).__name__}: {str(error)[:200]})."
        ) from error
    shapes = [(entry.name, entry.type, len(entry.shape)) for entry in session.get_inputs()]
    if (
        not 1 <= len(shapes) <= 2
        or shapes[0][1:] != ("tensor(float)", 2)
        or (len(shapes) > 1 and shapes[1][1:] != ("tensor(int64)", 1))
    ):
        raise CommandError(
            f"onnx/{name} has the inputs {shapes}; expected waves (batch, samples) as tensor(float), and perhaps lengths "
            "(batch) as tensor(int64)."
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return OnnxModel(session, Config(digest), f"onnx/{name}")
