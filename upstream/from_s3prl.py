"""Upstreams of S3PRL: `s3prl/fbank`, `s3prl/apc`, `s3prl/apc_local@FILE`, any entry of its hub.

S3PRL (Yang et al. 2021, arXiv 2105.01051) is the reference implementation of SUPERB. Its hub imports all families at once
and fails where one of them does; here only the family that defines the entry is imported, found by reading the sources.
Every utterance goes through the model alone, because several of its models let the padding into their features.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import io
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from superbench import SAMPLE_RATE, BadCheckpoint, BadUpstream, CommandError, Features, MissingExtra, SuperbenchError

WINDOW = 560
"""Samples of the shortest sound that every entry can take; shorter ones are filled up with zeros. Two windows of 25 ms, 10 ms
apart: many entries divide by a standard deviation over frames, and one frame has none."""
TAKE_A_FILE = ("_local", "_custom")
"""Endings of the entries whose first argument is a file."""


@dataclass(frozen=True)
class Config:
    """What the weights do not say: the entry, its package, and the digest of the checkpoint's file."""

    entry: str
    package: str
    checkpoint: str | None


class S3prlModel(nn.Module):
    """An entry of S3PRL's hub as an upstream; states and their size are measured on a second of noise."""

    sample_rate = SAMPLE_RATE

    def __init__(self, model: Any, config: Config) -> None:
        super().__init__()
        self.config = config
        self.model = model.eval()
        self.hop = int(model.get_downsample_rates("hidden_states"))
        noise = torch.randn(SAMPLE_RATE, generator=torch.Generator().manual_seed(0)) * 0.1
        with torch.inference_mode():
            self.layers, _, self.dim = self._one(noise).shape

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Each utterance is computed from its own samples alone."""
        states = [self._one(wave[:length]) for wave, length in zip(waves, lengths.tolist(), strict=True)]
        counts = torch.tensor([one.shape[1] for one in states], device=waves.device)
        frames = pad_sequence([one.transpose(0, 1) for one in states], batch_first=True)  # (batch, time, layer, dim)
        return Features(frames.permute(2, 0, 1, 3), counts)

    def _one(self, wave: Tensor) -> Tensor:
        wave = nn.functional.pad(wave, (0, max(WINDOW - len(wave), 0)))
        states = list(self.model([wave])["hidden_states"])  # each (1, time, dim)
        shapes = {tuple(state.shape[1:]) for state in states}
        if len(shapes) != 1:
            raise BadUpstream(
                f"s3prl/{self.config.entry} has hidden states of different (time, dim): {sorted(shapes)}. A weighted sum over "
                "layers needs one shape."
            )
        return torch.cat(states)  # (layer, time, dim)


def load(name: str, weights: Path | None) -> S3prlModel:
    """The entry of that name; `weights` goes to the entry as its first argument.

    Raises `CommandError` for an unknown entry, `BadCheckpoint` for a file that the entry cannot read, `SuperbenchError`
    when the family cannot be imported or the published weights cannot be fetched.
    """
    families = entries()
    if name not in families:
        near = difflib.get_close_matches(name, families, n=3, cutoff=0.5)
        guess = f"Did you mean {' or '.join(near)}? " if near else ""
        raise CommandError(f"S3PRL has no entry called {name!r}. {guess}It has {len(families)} in s3prl/upstream/*/hubconf.py.")
    _check_file(name, families, weights)
    entry = _imported(name, families[name])
    digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights else None
    return S3prlModel(_called(name, entry, weights), Config(name, version("s3prl"), digest))


def entries() -> dict[str, str]:
    """Entry -> family, read from the sources of the installed s3prl without importing them."""
    package = importlib.util.find_spec("s3prl")
    if package is None or package.origin is None:
        raise MissingExtra("s3prl/...", "s3prl", "all")
    found = {}
    for path in sorted(Path(package.origin).parent.glob("upstream/*/hubconf.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                found[node.name] = path.parent.name
    return found


def _imported(name: str, family: str) -> Any:
    try:
        with _quiet():
            return getattr(importlib.import_module(f"s3prl.upstream.{family}.hubconf"), name)
    except Exception as error:
        raise SuperbenchError(
            f"s3prl/{name} cannot be used here: its family {family!r} does not import ({type(error).__name__}: {error}). "
            "Install what it asks for, or take the model from another hub (hf/..., torchaudio/...)."
        ) from error


def _check_file(name: str, families: Mapping[str, str], weights: Path | None) -> None:
    """Only `*_local` and `*_custom` read a file; every other entry would quietly use its own weights in place of it."""
    if weights is None and name.endswith(TAKE_A_FILE):
        raise CommandError(f"s3prl/{name} needs a checkpoint: s3prl/{name}@FILE.")
    if weights is not None and not name.endswith(TAKE_A_FILE):
        takers = [other for other in families if families[other] == families[name] and other.endswith(TAKE_A_FILE)]
        instead = f"Use s3prl/{takers[0]}@{weights}." if takers else f"No entry of its family {families[name]!r} takes one."
        raise CommandError(f"s3prl/{name} brings its own weights and takes no @FILE. {instead}")
    if weights is not None and not weights.is_file():
        raise BadCheckpoint(f"{weights} is not there. Expected a checkpoint that s3prl/{name} can read.")


def _called(name: str, entry: Any, weights: Path | None) -> Any:
    try:
        with _quiet():
            return entry(str(weights)) if weights else entry()
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if weights:
            raise BadCheckpoint(
                f"{weights} cannot be loaded by s3prl/{name} ({said}). Expected a checkpoint of that family."
            ) from error
        raise SuperbenchError(
            f"s3prl/{name} cannot be built ({said}). If it fetches its weights, check the network, or bring the file and use "
            "the entry of that family which takes one, such as s3prl/apc_local@FILE."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """S3PRL and what it imports warn of things that a user cannot change, and print; its errors still come through."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
