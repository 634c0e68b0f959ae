"""Decides which features are stored: means always, frames if the store has room for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from superbench.contract import SAMPLE_RATE, Audio, Fold, Reduction, Task
from superbench.contract.items import audios_of
from superbench.features.quantized import StoreFormat, row_bytes
from superbench.features.store import Store
from superbench.plugins import Loaded

Keep = Literal["mean", "frames", "shared"]
"""Stored features of an utterance: one mean per layer, all frames, or none (then all probes of a sweep share each pass)."""
KEEPS: tuple[Keep, ...] = ("mean", "frames", "shared")
MEAN_BYTES = 4
HOUR = 3600.0


def choose(reads: Reduction, bytes_on_disk: int, room: int) -> Keep:
    """Returns which features are stored: means always; frames if all of them fit into `room` (bytes).

    >>> choose("mean", 10, 0), choose("frames", 10, 10), choose("frames", 11, 10)
    ('mean', 'frames', 'shared')
    """
    if reads == "mean":
        return "mean"
    return "frames" if bytes_on_disk <= room else "shared"


def mean_bytes(utterances: int, layers: int, dim: int) -> int:
    """Returns the bytes of means: a float32 vector per layer and utterance.

    >>> round(mean_bytes(138_361 + 6_904 + 8_251, 13, 768) / 1e9, 2)  # VoxCeleb1 through HuBERT base, GB
    6.13
    """
    return utterances * layers * dim * MEAN_BYTES


def frame_bytes(hours: float, utterances: int, hop: int, layers: int, dim: int, store_format: StoreFormat = "float16") -> int:
    """Returns the bytes of stored frames: one per `hop` samples, at least one per utterance; exact to half a frame each.

    >>> round(frame_bytes(100.6 + 5.4 + 5.4, 33_862, 320, 13, 768) / 1e9, 1)  # LibriSpeech through HuBERT base, GB
    400.4
    >>> round(frame_bytes(100.6 + 5.4 + 5.4, 33_862, 320, 13, 768, "int8") / 1e9, 1)
    201.2
    """
    frames = max(round(hours * HOUR * SAMPLE_RATE / hop), utterances)
    return frames * layers * row_bytes(dim, store_format)


def unstored(
    task: Task, upstream: Loaded, layers: int, folds: Sequence[Fold], store: Store, store_format: StoreFormat = "float16"
) -> frozenset[Audio]:
    """Returns the sound whose frames are not stored, so that it passes through the model at every reading. It is empty if all
    frames fit into the store, else the training sound, else all sound. Means always fit. Probes of a sweep share each pass."""
    reads, room = task.card.reads, store.room()
    train = frozenset(item.audio for fold in folds for item in fold.train.items)
    every = frozenset(audios_of(folds))
    choices: tuple[frozenset[Audio], ...] = (frozenset(), train, every)
    return next(
        live
        for live in choices
        if choose(reads, _frame_bytes(upstream, layers, every - live, store, store_format), room) != "shared"
    )


def _frame_bytes(upstream: Loaded, layers: int, audios: frozenset[Audio], store: Store, store_format: StoreFormat) -> int:
    """Returns the bytes of the stored frames of `audios`."""
    seconds = sum(
        min(sound.samples / sound.rate, (audio.end or sound.samples) / SAMPLE_RATE) - audio.start / SAMPLE_RATE
        for audio, sound in zip(audios, store.sounds([audio.path for audio in audios]), strict=True)
    )
    return frame_bytes(seconds / HOUR, len(audios), upstream.hop, layers, upstream.dim, store_format)
