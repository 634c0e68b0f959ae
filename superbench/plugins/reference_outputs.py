"""Computes a model's outputs for a few fixed short sounds, to detect changes that its revision does not cover.

A model may read a file after it was built, call a service, or keep weights outside its parameters and buffers. Therefore its
outputs are stored with its features, and are compared before those features, or a result, are used. They are not part of the
model's `revision`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from superbench.contract import SAMPLE_RATE
from superbench.errors import BadUpstream, StoreError
from superbench.system.files import load_sealed, save_sealed
from superbench.system.locks import locked_where_possible

if TYPE_CHECKING:
    from superbench.plugins.models import Loaded
from superbench.plugins.outputs import TOLERANCE, Outputs

SECONDS = (0.4, 0.8, 2.0)


def confirm(upstream: Loaded, device: str, folder: Path, *, redo: bool = False) -> tuple[Outputs, bool]:
    """Compares the model's outputs with those stored in `folder`; returns their summary, and whether they differ.

    If none are stored yet, the outputs are stored. If they differ, raises `BadUpstream`, or replaces them if `redo` is set.
    """
    setting = _setting(upstream, device)
    path = folder / f"{_digest([upstream.revision, setting])}.safetensors"
    states = _outputs(upstream, device)
    with locked_where_possible(path.with_suffix(".lock")):
        stored, since = _stored(path)
        difference = _difference(stored, states) if stored else 0.0
        differs = difference > TOLERANCE
        if differs and not redo:
            raise BadUpstream(
                f"{upstream.alias} is not the model that its stored features were computed with: for {len(SECONDS)} fixed "
                f"sounds its hidden states differ by {difference:.2g} of their largest value (tolerated: {TOLERANCE:g}), "
                f"but its revision is still {upstream.revision}. Something that the revision does not cover has changed; or "
                "the class draws random numbers when it is built: then set a seed. Add --redo to compute its features and "
                "results again, or let the class declare a `revision`."
            )
        if differs or not stored:
            since = time.time()
            _store(path, states, since)
    return Outputs(setting, _values(states), since), differs


def check_steady(upstream: Loaded, device: str) -> None:
    """Raises `BadUpstream` for a model that has changed since its outputs were compared, that is, during extraction."""
    if upstream.outputs is None:
        return
    current = Outputs(upstream.outputs.setting, _values(_outputs(upstream, device)))
    if current.contradict(upstream.outputs.facts()):
        raise BadUpstream(
            f"{upstream.alias} changed during the run: for {len(SECONDS)} fixed sounds its hidden states differ from those at "
            "the beginning. A frozen model returns the same features for the same sound, however often it was called. Its "
            "features were dropped. Find out what forward() changes in the model or in its files."
        )


def _store(path: Path, states: Sequence[Tensor], since: float) -> None:
    facts = {"superbench": "outputs", "since": repr(since)}
    with contextlib.suppress(StoreError):  # a store that cannot be written raises its error when features are stored
        save_sealed(path, {str(number): state for number, state in enumerate(states)}, facts)


def _difference(stored: Sequence[Tensor], states: Sequence[Tensor]) -> float:
    """Returns the largest relative difference of a hidden state, or of its summary, in which small values count too; infinity
    if the numbers of hidden states differ."""
    if len(stored) != len(states):
        return math.inf
    pairs = list(zip(stored, states, strict=True))
    return max([_of_state(before, after) for before, after in pairs] + [_of_summary(before, after) for before, after in pairs])


def _of_state(before: Tensor, after: Tensor) -> float:
    """Returns the largest difference of two states (time, dim), relative to the largest value of its dimension, or to the
    median of these values if that is larger. So one huge dimension, as in Transformers, does not hide the others."""
    if before.shape != after.shape or not torch.equal(torch.isfinite(before), torch.isfinite(after)):
        return math.inf
    if not before.numel():
        return 0.0
    before, after = torch.nan_to_num(before, 0.0, 0.0, 0.0), torch.nan_to_num(after, 0.0, 0.0, 0.0)
    largest = torch.maximum(before.abs(), after.abs()).amax(0)
    scale = largest.maximum(largest.median()).clamp(min=1e-12)
    return float(((before - after).abs().amax(0) / scale).max())


def _of_summary(before: Tensor, after: Tensor) -> float:
    """Returns the difference of `_summary`, relative to the mean magnitude."""
    (mean, weighted), (other_mean, other_weighted) = _summary(before), _summary(after)
    change = max(abs(mean - other_mean), abs(weighted - other_weighted))
    return change / max(mean, other_mean, 1e-12) if math.isfinite(change) else 0.0


def _setting(upstream: Loaded, device: str) -> str:
    return _digest([device.partition(":")[0], torch.__version__, *upstream.libraries])


def _outputs(upstream: Loaded, device: str) -> list[Tensor]:
    """Returns every hidden state (time, dim) of each sound, one after the other, in single precision on the CPU."""
    if getattr(upstream.model, "only_in_context", False):
        return _likelihoods(upstream, device)
    states = []
    for wave in _sounds():
        with torch.inference_mode():
            features = upstream.model(wave[None].to(device), torch.tensor([len(wave)]).to(device))
        states += list(features.frames[:, 0, : int(features.lengths[0])].float().cpu().clone())
    return states


def _likelihoods(upstream: Loaded, device: str) -> list[Tensor]:
    """How likely two continuations (1, 2) of each sound are, for a model without features."""
    first, second, _ = (wave.to(device) for wave in _sounds())
    following = [["yes"], ["no"]] if upstream.model.reads_text else [[first], [second]]
    prompts = [[wave.to(device)] for wave in _sounds()]
    with torch.inference_mode():
        answers = upstream.model.log_likelihood(prompts, [following] * len(prompts))
    return [torch.tensor([[one.value for one in answer]]) for answer in answers]


def _sounds() -> list[Tensor]:
    """Returns voiced sounds (a rising pitch with its harmonics) with a little noise, of the lengths `SECONDS`."""
    generator = torch.Generator().manual_seed(20_26)
    waves = []
    for number, seconds in enumerate(SECONDS):
        time = torch.arange(round(seconds * SAMPLE_RATE), dtype=torch.float64) / SAMPLE_RATE
        phase = 2 * math.pi * (100 + 40 * number + 30 * time) * time
        voiced = torch.stack([torch.sin(k * phase) / k for k in range(1, 20)]).sum(0)
        waves.append((0.1 * voiced + 0.02 * torch.randn(len(time), generator=generator, dtype=torch.float64)).float())
    return waves


def _values(states: Sequence[Tensor]) -> tuple[float, ...]:
    return tuple(value for state in states for value in _summary(state))


def _summary(state: Tensor) -> tuple[float, float]:
    weights = torch.cos(0.1 + 0.7 * torch.arange(state.numel(), dtype=torch.float64)).reshape(state.shape)
    values = state.double()
    return float(f"{values.abs().mean():.8g}"), float(f"{(values * weights).mean():.8g}")


def _stored(path: Path) -> tuple[list[Tensor], float]:
    """Returns the outputs in a file, and the time when they were stored; no outputs if the file is missing or damaged."""
    with contextlib.suppress(StoreError, KeyError):
        tensors, facts = load_sealed(path)
        return [tensors[str(number)] for number in range(len(tensors))], float(facts["since"])
    return [], 0.0


def _digest(facts: list[str]) -> str:
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()
