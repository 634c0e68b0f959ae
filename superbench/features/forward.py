"""Passes a batch of sound through the frozen model, and reduces the frames to what the head needs.

`padded` prepares a batch, in any thread; `begin` queues its pass through the model, `Begun.finish` returns its features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Audio, Precision, Reduction
from superbench.errors import BadUpstream
from superbench.features.quantized import Rows, StoreFormat
from superbench.features.reduction import checked, reduced, require_shape
from superbench.features.transfer import Transfer, host_buffer, transfer_of
from superbench.system.memory import allocation_errors

if TYPE_CHECKING:
    from superbench.plugins import Loaded


BATCH_SAMPLES = {"cpu": 60 * SAMPLE_RATE, "cuda": 600 * SAMPLE_RATE}
"""Largest number of padded samples in a batch, by device, unless `ForwardOptions.batch` gives another one."""

CHUNKS = (30, 15, 8, 4, 2, 1)
"""Seconds of chunks that are recommended for sound that does not fit into memory: the first that divides it."""


@dataclass(frozen=True, slots=True)
class ForwardOptions:
    """Options of a forward pass: chunking, precision, layers, size of batches, format of frames.

    Sound longer than `chunk` samples is split into equal parts of at most that length; their frames are concatenated.
    `precision` applies to matrix products and convolutions (`bfloat16`: autocast; weights and stored features keep their type).
    If `layers` are given, only these hidden states are kept. `batch`: largest number of padded samples in a batch.
    `store_format`: how frames are rounded, stored or not.
    """

    chunk: int | None = None
    precision: Precision = "float32"
    layers: tuple[int, ...] | None = None
    batch: int | None = None
    store_format: StoreFormat = "float16"


WHOLE = ForwardOptions()


@dataclass(frozen=True, slots=True)
class Group:
    """Waves that the model gets in one call: their rows in the batch, (row, samples) with zeros behind each, and lengths."""

    rows: list[int]
    waves: Tensor
    lengths: Tensor

    def halves(self) -> list[Group]:
        """Returns two groups, each padded to its own longest wave."""
        middle = len(self.rows) // 2
        return [self._part(slice(middle)), self._part(slice(middle, None))]

    def _part(self, part: slice) -> Group:
        lengths = self.lengths[part]
        return Group(self.rows[part], self.waves[part, : int(lengths.max())].contiguous(), lengths)


@dataclass(frozen=True, slots=True)
class Padded:
    """A batch that is ready for the model. `audios`: the source of each wave; `counts`: number of parts of each utterance."""

    groups: list[Group]
    audios: list[Audio]
    counts: list[int]


def padded(upstream: Loaded, waves: Sequence[Tensor], audios: Sequence[Audio], device: str, options: ForwardOptions) -> Padded:
    """Returns the waves (samples,) as a batch: in parts if they are longer than a chunk, and in as many groups as the model
    needs, if features depend on the other items of a batch."""
    parts = [_parts(wave, upstream.hop, options.chunk) for wave in waves]
    flat = [part for wave_parts in parts for part in wave_parts]
    sources = [audio for wave_parts, audio in zip(parts, audios, strict=True) for _ in wave_parts]
    groups = [_group(rows, [flat[row] for row in rows], device) for rows in _groups(upstream, [len(wave) for wave in flat])]
    return Padded(groups, sources, [len(wave_parts) for wave_parts in parts])


def _group(rows: list[int], waves: Sequence[Tensor], device: str) -> Group:
    lengths = torch.tensor([len(wave) for wave in waves], pin_memory=device == "cuda")
    buffer = host_buffer((len(waves), int(lengths.max())), device)
    for row, wave in zip(buffer, waves, strict=True):
        row[: len(wave)] = wave
        row[len(wave) :] = 0.0
    return Group(rows, buffer, lengths)


def _parts(wave: Tensor, hop: int, chunk: int | None) -> Sequence[Tensor]:
    """Returns the complete wave, or equal parts of it, each a multiple of the hop."""
    if chunk is None or len(wave) <= chunk:
        return [wave]
    count = -(-len(wave) // chunk)
    size = -(-len(wave) // count // hop) * hop
    return wave.split(size)


def _groups(upstream: Loaded, lengths: Sequence[int]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        groups.setdefault({"any": 0, "equal": length, "none": row}[upstream.batching], []).append(row)
    return list(groups.values())


@dataclass(frozen=True, slots=True)
class Call:
    """What the model returned for a group: frames (layer, wave, time, dim) in float32, and the number of valid frames of each
    wave, on the device, where they are ready behind `mark`."""

    group: Group
    frames: Tensor
    valid: Tensor
    mark: Any


@dataclass(frozen=True, slots=True)
class Begun:
    """A batch whose pass through the model is queued on the device."""

    upstream: Loaded
    batch: Padded
    calls: list[Call]
    reduction: Reduction
    options: ForwardOptions
    transfer: Transfer

    def finish(self) -> list[Rows]:
        """Returns the features of each utterance, as `forward` does, and frees the frames. Raises `BadUpstream`."""
        frames: dict[int, Tensor] = {}
        with self.transfer.after(self.calls[-1].mark):
            for call in self.calls:
                require_shape(self.upstream, call.frames, len(call.group.rows))
                facts = zip(call.group.rows, call.valid.tolist(), call.group.lengths.tolist(), strict=True)
                for place, (row, valid, samples) in enumerate(facts):
                    frames[row] = checked(self.upstream, call.frames[:, place], valid, samples, self.batch.audios[row])
            features = self._reduced([frames[row] for row in range(len(frames))])
        self.calls.clear()
        return features

    def _reduced(self, frames: list[Tensor]) -> list[Rows]:
        layers = slice(None) if self.options.layers is None else list(self.options.layers)
        parts, audios = iter(zip(frames, self.batch.audios, strict=True)), list[Audio]()
        whole = []
        for count in self.batch.counts:
            own = [next(parts) for _ in range(count)]
            whole.append(torch.cat([part[layers] for part, _ in own], dim=1) if count > 1 else own[0][0][layers])
            audios.append(own[0][1])
        return reduced(self.upstream, whole, audios, self.reduction, self.options.store_format)


def begin(
    upstream: Loaded,
    batch: Padded,
    reduction: Reduction,
    device: str,
    options: ForwardOptions,
    transfer: Transfer,
    *,
    alone: bool = True,
) -> Begun:
    """Queues the pass of a batch on the device; on a CPU, it is computed now.

    If memory runs out, groups are halved; `BadUpstream` is raised if a single utterance does not fit. If the batch is not
    `alone` (another one is not finished yet), `torch.OutOfMemoryError` is raised instead: finish that one, and repeat.
    """
    calls: list[Call] = []
    waiting = batch.groups[::-1]
    while waiting:
        group = waiting.pop()
        try:
            calls.append(_called(upstream, group, device, options.precision, transfer))
        except torch.OutOfMemoryError as error:
            if not alone:
                raise
            if len(group.rows) == 1:
                raise _too_long(upstream, batch.audios[group.rows[0]], int(group.lengths[0])) from error
            waiting += group.halves()[::-1]
    return Begun(
        upstream=upstream, batch=batch, calls=calls, reduction=reduction, options=options, transfer=transfer
    )  # fmt: skip


def _too_long(upstream: Loaded, audio: Audio, samples: int) -> BadUpstream:
    seconds = samples / SAMPLE_RATE
    chunk = next((chunk for chunk in CHUNKS if chunk < seconds), None)
    advice = f"Split long sound into chunks: --chunk {chunk}" if chunk else "It needs a machine with more memory"
    return BadUpstream(f"{upstream.alias} does not fit into memory with {audio.path} ({seconds:.1f} s) alone. {advice}.")


def _called(upstream: Loaded, group: Group, device: str, precision: Precision, transfer: Transfer) -> Call:
    """Calls the model with a group."""
    waves, lengths = transfer.up(group.waves), transfer.up(group.lengths)
    autocast = torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")
    with allocation_errors(), torch.inference_mode(), autocast:
        features = upstream.model(waves, lengths)
    return Call(group, features.frames.float(), features.lengths, transfer.mark())


def forward(
    upstream: Loaded,
    waves: Sequence[Tensor],
    audios: Sequence[Audio],
    reduction: Reduction,
    device: str,
    options: ForwardOptions = WHOLE,
) -> list[Rows]:
    """Returns reduced features of a batch: each (1, layer, dim) for `mean`, (frames, layer, dim) for `frames`, on the CPU.

    An utterance of n samples keeps min(round(n / hop), frames that the model returns for it) frames, at least one. If memory
    runs out, the batch is halved; `BadUpstream` is raised if a single utterance does not fit.
    """
    try:
        with allocation_errors():
            batch = padded(upstream, waves, audios, device, options)
            return begin(upstream, batch, reduction, device, options, transfer_of(device)).finish()
    except torch.OutOfMemoryError as error:  # in the padding, or in the reduction of the frames
        if len(waves) == 1:
            raise _too_long(upstream, audios[0], len(waves[0])) from error
    middle = len(waves) // 2
    first, second = slice(middle), slice(middle, None)
    return [
        *forward(upstream, waves[first], audios[first], reduction, device, options),
        *forward(upstream, waves[second], audios[second], reduction, device, options),
    ]
