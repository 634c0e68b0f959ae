"""Upstreams of S3PRL: `s3prl/fbank`, `s3prl/apc`, `s3prl/apc_local@FILE`, `s3prl/byol_a_2048@FILE`, any entry of its hub.

S3PRL (Yang et al. 2021, arXiv 2105.01051) is the reference implementation of SUPERB. Its hub imports all families at once
and fails if one of them fails. This adapter imports only the family that defines the entry, found by reading the sources.
Only sounds of equal length share a batch, because padding changes the features of several models. docs/upstreams.md lists which
families run.

With `@FILE` the file replaces the download of the entry. Checkpoints are read without running code that a
pickle, or an expression in its configuration, may contain.
A frame that would begin at or after the end of the sound counts as padding.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from torch import Tensor, nn

from superbench import SAMPLE_RATE, BadCheckpoint, BadUpstream, CommandError, Features, SuperbenchError
from upstream.shared.hub_names import s3prl as entries
from upstream.shared.plain_expressions import plain_eval
from upstream.shared.unpadded import without_padding

LEAST = (560, 2_400, 16_000, 32_000)
"""Lengths in samples that are tried with an entry; shorter sounds are padded with zeros to the first length that works. The
smallest is two windows of 25 ms, 10 ms apart: many entries divide by a standard deviation over frames, which needs two."""
TAKE_A_FILE = ("_local", "_custom")
"""Suffixes of the entries whose first argument is a file."""
NEEDS = {
    "ast": ("timm", "timm 0.4.5, which needs torch._six: torch 2.0 and later do not have it"),
    "ssast": ("timm", "timm 0.4.5, which needs torch._six: torch 2.0 and later do not have it"),
    "espnet_hubert": ("espnet2", "ESPnet: pip install espnet"),
    "pase": ("pase", "the package of github.com/santi-pdp/pase, which is on no index"),
    "vggish": ("resampy", "resampy: pip install resampy"),
    "byol_s": ("torchaudio.backend", "functions that torchaudio removed in 2.9"),
    "mos_prediction": ("torchaudio.sox_effects", "functions that torchaudio removed in 2.9"),
}
"""Family -> a module that it needs but s3prl does not install, and what a message recommends."""


@dataclass(frozen=True)
class Config:
    """What the weights do not contain: the entry, its package, and the digest of the checkpoint file."""

    entry: str
    package: str
    checkpoint: str | None


class S3prlModel(nn.Module):
    """An entry of S3PRL's hub as an upstream. The number of states and their size are measured on noise."""

    sample_rate = SAMPLE_RATE

    def __init__(self, model: Any, config: Config) -> None:
        super().__init__()
        self.config = config
        self.model = model.eval()
        self.hop = int(model.get_downsample_rates("hidden_states"))
        noise = torch.randn(1, LEAST[-1], generator=torch.Generator().manual_seed(0)) * 0.1
        with torch.inference_mode():
            self.layers, _, _, self.dim = self._states(noise).shape
            self.least = next((n for n in LEAST[:-1] if self._can_take(noise[:, :n])), LEAST[-1])

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Computes the hidden states of each utterance only from its own samples."""
        padded = nn.functional.pad(waves, (0, max(self.least - waves.shape[1], 0)))
        features = without_padding(padded, lengths.clamp(min=self.least), self._states)
        own = torch.div(lengths + self.hop - 1, self.hop, rounding_mode="floor").to(features.lengths)
        return Features(features.frames, torch.minimum(features.lengths, own))

    def _states(self, waves: Tensor) -> Tensor:
        with _quiet():
            states = list(self.model(list(waves))["hidden_states"])  # each (batch, time, dim)
        shapes = {tuple(state.shape[1:]) for state in states}
        if len(shapes) != 1:
            raise BadUpstream(
                f"s3prl/{self.config.entry} has hidden states of different (time, dim): {sorted(shapes)}. A weighted sum over "
                "layers needs one shape."
            )
        return torch.stack(states)  # (layer, batch, time, dim)

    def _can_take(self, wave: Tensor) -> bool:
        try:
            states = self._states(wave)
        except Exception:  # any error of a model for sound that is too short
            return False
        return states.shape[2] > 0 and bool(torch.isfinite(states).all())


def load(name: str, weights: Path | None) -> S3prlModel:
    """Builds the entry of that name; `weights` replaces its download, or is its first argument.

    Raises `CommandError` for an unknown entry, `BadCheckpoint` for a file that the entry cannot read, `SuperbenchError`
    if the family cannot be imported or the published weights cannot be fetched.
    """
    families = entries()
    if name not in families:
        near = difflib.get_close_matches(name, families, n=3, cutoff=0.5)
        guess = f"Did you mean {' or '.join(near)}? " if near else ""
        raise CommandError(
            f"S3PRL has no entry called {name!r}. {guess}`superbench list upstreams --hub s3prl` shows all {len(families)}."
        )
    if weights is not None and not weights.exists():
        raise BadCheckpoint(f"{weights} does not exist. Expected a checkpoint that s3prl/{name} can read.")
    _check_needs(name, families[name])
    entry = _imported(name, families[name])
    if weights is None and _takes_a_file(name, entry):
        raise CommandError(f"s3prl/{name} needs a checkpoint: s3prl/{name}@FILE.")
    model = _called(name, families, entry, weights)
    return S3prlModel(model, Config(name, version("s3prl"), _digest(weights) if weights else None))


def _takes_a_file(name: str, entry: Any) -> bool:
    first = next(iter(inspect.signature(entry).parameters.values()), None)
    required = first is not None and first.kind is first.POSITIONAL_OR_KEYWORD and first.default is first.empty
    return name.endswith(TAKE_A_FILE) or required


def _digest(weights: Path) -> str:
    """Returns the digest of the file, or of all files of a folder in the order of their names."""
    digest = hashlib.sha256()
    for path in [weights] if weights.is_file() else sorted(path for path in weights.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


# ---------------------------------------------------------------- one family at a time


def _imported(name: str, family: str) -> Any:
    try:
        with _quiet():
            return getattr(importlib.import_module(f"s3prl.upstream.{family}.hubconf"), name)
    except Exception as error:
        raise SuperbenchError(
            f"s3prl/{name} cannot be used here: its family {family!r} does not import ({type(error).__name__}: {error}). "
            "Take the model from another hub (hf/..., torchaudio/...), if that hub has it."
        ) from error


def _check_needs(name: str, family: str) -> None:
    """Raises `SuperbenchError` if the family needs a missing module, before anything is fetched."""
    module, advice = NEEDS.get(family, ("", ""))
    with contextlib.suppress(ImportError):
        if not module or importlib.util.find_spec(module):
            return
    raise SuperbenchError(
        f"s3prl/{name} cannot be used here: its family {family!r} needs {advice}. Take the model from another hub "
        "(hf/..., torchaudio/...), if that hub has it."
    )


def _called(name: str, families: Mapping[str, str], entry: Any, weights: Path | None) -> Any:
    """Builds the model of an entry; raises an error with advice if this fails."""
    takes = _takes_a_file(name, entry)
    with _fetching(weights) as (urls, path_of):
        try:
            with _quiet(), _safe_loading(), plain_eval("s3prl"), _hub(families):
                model = entry(str(weights)) if weights and takes else entry()
        except (SuperbenchError, KeyboardInterrupt):
            raise
        except BaseException as error:  # some families call exit()
            raise _unusable(name, families[name], weights, urls, path_of, error) from error
    if weights and not takes and not urls:
        raise CommandError(f"s3prl/{name} downloads no file that {weights} could replace. Use s3prl/{name} without @FILE.")
    return model


def _unusable(
    name: str, family: str, weights: Path | None, urls: list[str], path_of: Any, error: BaseException
) -> SuperbenchError:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if weights:
        return BadCheckpoint(
            f"{weights} cannot be loaded by s3prl/{name} ({reason}). Expected a checkpoint of its family {family!r}, of the "
            "size that the entry names. Files of fairseq must be converted with s3prl/upstream/*/convert.py first."
        )
    files = "; ".join(f"{url} belongs at {path_of(url)}" for url in dict.fromkeys(urls))
    advice = (
        f"Check the network; or fetch it on another machine: {files}. Or name the file: s3prl/{name}@FILE. " if files else ""
    )
    return SuperbenchError(f"s3prl/{name} cannot be built ({reason}). {advice}".rstrip())


# ---------------------------------------------------------------- while an entry is called


@contextlib.contextmanager
def _fetching(weights: Path | None) -> Iterator[tuple[list[str], Any]]:
    """Records S3PRL's downloads inside the block, and returns `weights` for them if given.

    Yields URLs and a URL -> path function.
    """
    from s3prl.util import download

    original, fetched = download._urls_to_filepaths, list[str]()

    def instead(*urls: str, **options: Any) -> Any:
        """Replaces fetching: records the URLs, and returns the local file."""
        fetched.extend(urls)
        if weights is None:
            return original(*urls, **options)
        if len(set(fetched)) > 1:
            places = "; ".join(f"{url} at {original(url, download=False)}" for url in dict.fromkeys(fetched))
            raise CommandError(
                f"This entry needs {len(set(fetched))} files and takes no @FILE. Put them where it looks: {places}."
            )
        return str(weights)

    _replace(original, instead)
    try:
        yield fetched, lambda url: original(url, download=False)
    finally:
        _replace(instead, original)  # also in modules that were imported inside the block


def _replace(function: Any, other: Any) -> None:
    """Replaces a function by another one in every module of S3PRL that imported it."""
    for module in [module for name, module in sys.modules.items() if name.startswith("s3prl.")]:
        for name in ("_urls_to_filepaths", "urls_to_filepaths"):
            if vars(module).get(name) is function:
                setattr(module, name, other)


@contextlib.contextmanager
def _safe_loading() -> Iterator[None]:
    """Makes `torch.load` read only tensors and plain values, also where S3PRL allows code in pickles."""
    import s3prl.optimizers

    old = [(cls, f"optimizers.{cls.__name__}") for cls in vars(s3prl.optimizers).values() if isinstance(cls, type)]
    arrays = [multiarray.scalar, multiarray._reconstruct]
    aged = [(function, f"numpy.core.multiarray.{function.__name__}") for function in arrays]  # names in files of numpy 1
    kinds = [np.dtype, np.ndarray, np.dtypes.Float32DType, np.dtypes.Float64DType, np.dtypes.Int64DType]
    plain: list[Any] = [argparse.Namespace, codecs.encode, *kinds, *arrays]
    name, before = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ[name] = "1"
    try:
        with torch.serialization.safe_globals([*plain, *aged, *old]):
            yield
    finally:
        os.environ.pop(name) if before is None else os.environ.__setitem__(name, before)


@contextlib.contextmanager
def _hub(families: Mapping[str, str]) -> Iterator[None]:
    """Provides `s3prl.hub`, in which one family looks up an entry of another, without the import of all families."""
    import s3prl

    other = {name: (lambda name=name, **options: _imported(name, families[name])(**options)) for name in families}
    if hasattr(s3prl, "hub"):
        yield
        return
    s3prl.hub = SimpleNamespace(**other)
    try:
        yield
    finally:
        del s3prl.hub


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences warnings, logs and output of S3PRL, which a user cannot change; errors are still raised."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
