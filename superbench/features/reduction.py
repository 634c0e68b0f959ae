"""Checks the frames that a model returned for an utterance, and reduces them, on the device, to what the head needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor

from superbench.contract import Audio, Reduction
from superbench.contract.model import LARGEST_HALF, TOLERATED_FRAMES
from superbench.errors import BadUpstream
from superbench.features.quantized import Quantized, Rows, StoreFormat
from superbench.features.transfer import down

if TYPE_CHECKING:
    from superbench.plugins import Loaded


def require_shape(upstream: Loaded, frames: Tensor, batch: int) -> None:
    """Raises `BadUpstream` if the frames (layer, batch, time, dim) of a batch do not have the shape that the model declares."""
    if frames.shape[0] != upstream.layers or frames.shape[1] != batch or frames.shape[3] != upstream.dim:
        raise BadUpstream(
            f"{upstream.alias} returned frames of shape {tuple(frames.shape)}; it declares (layer, batch, time, dim) = "
            f"({upstream.layers}, {batch}, …, {upstream.dim})."
        )


def checked(upstream: Loaded, frames: Tensor, valid: int, samples: int, audio: Audio) -> Tensor:
    """Returns the frames (layer, time, dim) without padding; raises `BadUpstream` if their number breaks the contract."""
    expected = round(samples / upstream.hop)
    if abs(valid - expected) >= TOLERATED_FRAMES:
        raise BadUpstream(
            f"{upstream.alias} returns {valid} frames for {audio.path}, which has {samples} samples: expected about "
            f"{expected} at a hop of {upstream.hop}. Correct the model's `hop`, or its `lengths`."
        )
    unpadded = frames[:, : max(min(expected, valid), 1)]
    if not unpadded.shape[1]:
        raise BadUpstream(
            f"{upstream.alias} returns no frame for {audio.path}, which has {samples} samples: it is too short for this model."
        )
    return unpadded


def reduced(
    upstream: Loaded,
    frames: Sequence[Tensor],
    audios: Sequence[Audio],
    reduction: Reduction,
    store_format: StoreFormat = "float16",
) -> list[Rows]:
    """Returns features of utterances (layer, time, dim each): (1, layer, dim) for `mean`, (time, layer, dim) for `frames`, in
    CPU memory. Frames are in `store_format`, or in float32 if a value is too large for float16. Raises `BadUpstream` for NaN
    and infinite values.

    To examine every value takes longer than to decode the sound, so the reduced values are examined: a mean is finite only if
    all of its frames are.
    """
    if reduction == "mean":
        return _means(upstream, frames, audios)
    return (_eighths if store_format == "int8" else _halves)(upstream, frames, audios)


def _means(upstream: Loaded, frames: Sequence[Tensor], audios: Sequence[Audio]) -> list[Rows]:
    means = torch.stack([own.mean(dim=1) for own in frames])  # (utterance, layer, dim)
    if not _finite(means):
        _refuse(upstream, next(audio for own, audio in zip(means, audios, strict=True) if not _finite(own)))
    return list[Rows](down([means])[0].split(1))


def _eighths(upstream: Loaded, frames: Sequence[Tensor], audios: Sequence[Audio]) -> list[Rows]:
    extremes = torch.stack([extreme for own in frames for extreme in own.aminmax()]).view(-1, 2).tolist()
    for pair, audio in zip(extremes, audios, strict=True):
        if not all(map(math.isfinite, pair)):
            _refuse(upstream, audio)
    quantized = [Quantized.of(own.transpose(0, 1).contiguous()) for own in frames]
    values, scales = down([own.values for own in quantized]), down([own.scales for own in quantized])
    return [Quantized(*own) for own in zip(values, scales, strict=True)]


def _halves(upstream: Loaded, frames: Sequence[Tensor], audios: Sequence[Audio]) -> list[Rows]:
    halves = [own.transpose(0, 1).to(torch.half, memory_format=torch.contiguous_format) for own in frames]
    extremes = torch.stack([extreme for half in halves for extreme in half.aminmax()]).tolist()
    if all(abs(extreme) < LARGEST_HALF for extreme in extremes):  # False for NaN
        return list[Rows](down(halves))
    return [_kept(upstream, *own).cpu() for own in zip(frames, halves, audios, strict=True)]


def _kept(upstream: Loaded, frames: Tensor, half: Tensor, audio: Audio) -> Tensor:
    """Returns the frames (time, layer, dim) in half precision, or in single precision if a value is too large for it."""
    exact = frames.transpose(0, 1).contiguous()
    peak = float(exact.abs().max())
    if not math.isfinite(peak):
        _refuse(upstream, audio)
    return half if peak <= LARGEST_HALF else exact


def _finite(values: Tensor) -> bool:
    """Returns whether all values are finite; several times as fast as `torch.isfinite(values).all()`."""
    return all(math.isfinite(extreme) for extreme in torch.stack(values.aminmax()).tolist())


def _refuse(upstream: Loaded, audio: Audio) -> NoReturn:
    raise BadUpstream(f"{upstream.alias} returns NaN or infinite features for {audio.path}.")
