"""One batch of sound through the frozen model, reduced to what the head needs."""

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
"""Padded samples that go through the model at once."""


@dataclass(frozen=True, slots=True)
class ForwardOptions:
    """How sound goes through the model.

    Sound longer than `chunk` samples passes in equal parts of at most that length, whose frames are joined. `precision` is
    that of matrix products and convolutions (`bfloat16`: autocast; weights and what is stored stay as they are). Only hidden
    state `layer` is kept, where one is asked for.
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
    how: ForwardOptions = WHOLE,
) -> list[Tensor]:
    """Reduced features of a batch: each (1, layer, dim) for `mean`, (frames, layer, dim) for `frames`, on the CPU.

    An utterance of n samples keeps min(round(n / hop), frames that the model yields for it) frames, at least one. Out of memory
    halves the batch and goes on; a single utterance that does not fit is an error.
    """
    parts = [_parts(wave, upstream.hop, how.chunk) for wave in waves]
    flat = [part for some in parts for part in some]
    whose = [audio for some, audio in zip(parts, audios, strict=True) for _ in some]
    kept = slice(None) if how.layer is None else slice(how.layer, how.layer + 1)
    frames = (own[kept] for own in _own_frames(upstream, flat, whose, device, how.precision))
    return [
        _reduce(torch.cat([next(frames) for _ in some], dim=1) if len(some) > 1 else next(frames), reduction) for some in parts
    ]


def _parts(wave: Tensor, hop: int, chunk: int | None) -> Sequence[Tensor]:
    """The wave whole, or in equal parts of whole frames."""
    if chunk is None or len(wave) <= chunk:
        return [wave]
    count = -(-len(wave) // chunk)
    size = -(-len(wave) // count // hop) * hop
    return wave.split(size)


def _own_frames(
    upstream: Loaded, waves: Sequence[Tensor], audios: Sequence[Audio], device: str, precision: Precision
) -> list[Tensor]:
    """The frames (layer, time, dim) of each wave, float32, on the device, without padding.

    Waves whose mates would change their features pass in groups of equal length, or one at a time.
    """
    groups = _groups(upstream, [len(wave) for wave in waves])
    if len(groups) == 1:
        return _together(upstream, waves, audios, device, precision)
    found: dict[int, Tensor] = {}
    for rows in groups:
        some = _together(upstream, [waves[i] for i in rows], [audios[i] for i in rows], device, precision)
        found |= zip(rows, some, strict=True)
    return [found[i] for i in range(len(waves))]


def _groups(upstream: Loaded, lengths: Sequence[int]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        groups.setdefault({"any": 0, "equal": length, "none": row}[upstream.mates], []).append(row)
    return list(groups.values())


def _together(
    upstream: Loaded, waves: Sequence[Tensor], audios: Sequence[Audio], device: str, precision: Precision
) -> list[Tensor]:
    """One call of the model; out of memory, two."""
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
                "Let long sound pass in parts: --chunk 30"
            ) from error
        half = len(waves) // 2
        return [
            *_together(upstream, waves[:half], audios[:half], device, precision),
            *_together(upstream, waves[half:], audios[half:], device, precision),
        ]
    _check(upstream, frames, len(waves))
    return [
        _checked(upstream, frames[:, i], valid[i], len(wave), audio)
        for i, (wave, audio) in enumerate(zip(waves, audios, strict=True))
    ]


def _checked(upstream: Loaded, frames: Tensor, valid: int, samples: int, audio: Audio) -> Tensor:
    """The frames (layer, time, dim) that belong to the sound itself."""
    expected = round(samples / upstream.hop)
    if abs(valid - expected) >= TOLERATED_FRAMES:
        raise BadUpstream(
            f"{upstream.alias} gives {valid} frames for {audio.path}, which has {samples} samples: expected about "
            f"{expected} at a hop of {upstream.hop}. Correct the model's `hop`, or its `lengths`."
        )
    own = frames[:, : max(min(expected, valid), 1)]
    if not own.shape[1]:
        raise BadUpstream(f"{upstream.alias} gives no frame for {audio.path}, which has {samples} samples: too short for it.")
    if not torch.isfinite(own).all():
        raise BadUpstream(f"{upstream.alias} gives NaN or infinite features for {audio.path}.")
    return own


def _check(upstream: Loaded, frames: Tensor, batch: int) -> None:
    if frames.shape[0] != upstream.layers or frames.shape[1] != batch or frames.shape[3] != upstream.dim:
        raise BadUpstream(
            f"{upstream.alias} gave frames of shape {tuple(frames.shape)}; it declares (layer, batch, time, dim) = "
            f"({upstream.layers}, {batch}, …, {upstream.dim})."
        )


def _reduce(own: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "mean":
        return own.mean(dim=1)[None].cpu()
    kept = own.transpose(0, 1).contiguous().cpu()  # (time, layer, dim)
    return kept.half() if float(kept.abs().max()) <= LARGEST_HALF else kept
