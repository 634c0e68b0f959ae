"""Passes a batch of sound through the frozen model, and reduces the frames to what the head needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Audio, Precision, Reduction
from superbench.contract.model import LARGEST_HALF, TOLERATED_FRAMES
from superbench.errors import BadUpstream

if TYPE_CHECKING:
    from superbench.plugins import Loaded


BATCH_SAMPLES = {"cpu": 60 * SAMPLE_RATE, "cuda": 600 * SAMPLE_RATE}
"""Largest number of padded samples in a batch, by device."""


@dataclass(frozen=True, slots=True)
class ForwardOptions:
    """Options of a forward pass: chunking, precision, layer.

    Sound longer than `chunk` samples is split into equal parts of at most that length; their frames are concatenated.
    `precision` applies to matrix products and convolutions (`bfloat16`: autocast; weights and stored features keep their type).
    If `layer` is given, only that hidden state is kept.
    """

    chunk: int | None = None
    precision: Precision = "float32"
    layer: int | None = None


WHOLE = ForwardOptions()


def forward(
    upstream: Loaded,
    waves: Sequence[Tensor],
    audios: Sequence[Audio],
    reduction: Reduction,
    device: str,
    options: ForwardOptions = WHOLE,
) -> list[Tensor]:
    """Returns reduced features of a batch: each (1, layer, dim) for `mean`, (frames, layer, dim) for `frames`, on the CPU.

    An utterance of n samples keeps min(round(n / hop), frames that the model returns for it) frames, at least one. If memory
    runs out, the batch is halved; `BadUpstream` is raised if a single utterance does not fit.
    """
    parts = [_parts(wave, upstream.hop, options.chunk) for wave in waves]
    flat = [part for wave_parts in parts for part in wave_parts]
    sources = [audio for wave_parts, audio in zip(parts, audios, strict=True) for _ in wave_parts]
    layers = slice(None) if options.layer is None else slice(options.layer, options.layer + 1)
    frames = (part_frames[layers] for part_frames in _frames_of(upstream, flat, sources, device, options.precision))
    return [
        _reduce(torch.cat([next(frames) for _ in wave_parts], dim=1) if len(wave_parts) > 1 else next(frames), reduction)
        for wave_parts in parts
    ]


def _parts(wave: Tensor, hop: int, chunk: int | None) -> Sequence[Tensor]:
    """Returns the complete wave, or equal parts of it, each a multiple of the hop."""
    if chunk is None or len(wave) <= chunk:
        return [wave]
    count = -(-len(wave) // chunk)
    size = -(-len(wave) // count // hop) * hop
    return wave.split(size)


def _frames_of(
    upstream: Loaded, waves: Sequence[Tensor], audios: Sequence[Audio], device: str, precision: Precision
) -> list[Tensor]:
    """Returns the frames (layer, time, dim) of each wave, float32, on the device, without padding.

    If features depend on the other items in the batch, waves are grouped by length, or passed one at a time.
    """
    groups = _groups(upstream, [len(wave) for wave in waves])
    if len(groups) == 1:
        return _batch_frames(upstream, waves, audios, device, precision)
    frames: dict[int, Tensor] = {}
    for rows in groups:
        batch = _batch_frames(upstream, [waves[i] for i in rows], [audios[i] for i in rows], device, precision)
        frames |= zip(rows, batch, strict=True)
    return [frames[i] for i in range(len(waves))]


def _groups(upstream: Loaded, lengths: Sequence[int]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        groups.setdefault({"any": 0, "equal": length, "none": row}[upstream.batching], []).append(row)
    return list(groups.values())


def _batch_frames(
    upstream: Loaded, waves: Sequence[Tensor], audios: Sequence[Audio], device: str, precision: Precision
) -> list[Tensor]:
    """Returns the frames of one batch, from one call of the model, or from two halves if memory runs out."""
    try:
        lengths = torch.tensor([len(wave) for wave in waves])
        padded = torch.nn.utils.rnn.pad_sequence(list(waves), batch_first=True)
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            features = upstream.model(padded.to(device), lengths.to(device))
        frames, valid = features.frames.float(), features.lengths.tolist()
    except torch.OutOfMemoryError as error:
        if len(waves) == 1:
            raise BadUpstream(
                f"{upstream.alias} does not fit into memory with {audios[0].path} ({len(waves[0]) / SAMPLE_RATE:.1f} s) alone. "
                "Split long sound into chunks: --chunk 30"
            ) from error
        half = len(waves) // 2
        return [
            *_batch_frames(upstream, waves[:half], audios[:half], device, precision),
            *_batch_frames(upstream, waves[half:], audios[half:], device, precision),
        ]
    _check(upstream, frames, len(waves))
    return [
        _checked(upstream, frames[:, i], valid[i], len(wave), audio)
        for i, (wave, audio) in enumerate(zip(waves, audios, strict=True))
    ]


def _checked(upstream: Loaded, frames: Tensor, valid: int, samples: int, audio: Audio) -> Tensor:
    """Returns the frames (layer, time, dim) without padding; raises `BadUpstream` if they break the contract."""
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
    if not torch.isfinite(unpadded).all():
        raise BadUpstream(f"{upstream.alias} returns NaN or infinite features for {audio.path}.")
    return unpadded


def _check(upstream: Loaded, frames: Tensor, batch: int) -> None:
    if frames.shape[0] != upstream.layers or frames.shape[1] != batch or frames.shape[3] != upstream.dim:
        raise BadUpstream(
            f"{upstream.alias} returned frames of shape {tuple(frames.shape)}; it declares (layer, batch, time, dim) = "
            f"({upstream.layers}, {batch}, …, {upstream.dim})."
        )


def _reduce(frames: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "mean":
        return frames.mean(dim=1)[None].cpu()
    kept = frames.transpose(0, 1).contiguous().cpu()  # (time, layer, dim)
    return kept.half() if float(kept.abs().max()) <= LARGEST_HALF else kept
