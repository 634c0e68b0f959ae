"""Decodes an audio reference to a waveform: 16 kHz, mono, float32, full scale 1.

libsndfile decodes, by the content of a file and not by its suffix. A file that cannot be used causes an error with its name: no
samples, NaN, an unreadable header, less sound than declared, numbers far beyond full scale, channels that cancel each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr
import torch
import torchaudio
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Audio
from superbench.data.sound_files import Stream, is_one_channel_of_integers, must_be_one_flac, opened
from superbench.errors import BadAudio

DECODING = 2
"""Version of decoding. It is increased when the same file gives another waveform, so that features stored before are not used.
2: sound of unknown length is read to its end; soxr resamples rates without a common divisor with 16 000."""
COMPRESSED = ("FLAC", "MP3", "OGG")
ENDLESS, UNTOLD = 2**31, 2**62
"""Length (samples) from which a file is read in blocks, so that a damaged header cannot fill memory; libsndfile's `unknown`."""
BLOCK = 2**20

LOUDEST = 4.0
"""Largest valid sample. Mixing, resampling and mp3 exceed 1 a little; integers saved as floats exceed it a thousandfold."""
WHOLE = (2**7, 2**15, 2**23, 2**31)
"""Full scale of integers of 8 to 32 bits."""
CANCELLED = 0.01
"""Channels cancel if the power of their mean, relative to the loudest channel, is below this (-20 dB; usual loss: 3 dB)."""
LOOK_SECONDS = 10
LARGEST_BANK = 1_000_000
"""Largest size of torchaudio's filters for a pair of rates (the product of both rates over their common divisor): 4 MB. Common
rates have 282 240 (11 025 Hz) or fewer; 22 254 Hz would have 89 million, 16 001 Hz 256 million."""

SILENCE_AMPLITUDE = 0.001
SILENCE_SECONDS = 0.1
RMS_SECONDS = 0.02


def load(audio: Audio, random: np.random.Generator | None = None) -> Tensor:
    """Returns the waveform (samples,) that `audio` refers to: decoded, mixed to mono, resampled, amplified, trimmed, then cut.

    `random` draws the position of a crop; without it, the complete sound is returned. Raises `BadAudio` with the file and its
    fault.
    """
    wave = decode(audio.path)
    if audio.gain_db:
        wave = wave * 10 ** (audio.gain_db / 20)
    if audio.trim:
        wave = without_silence(wave)
    piece = wave[audio.start : audio.end]
    if not len(piece):
        raise BadAudio(
            f"{audio.path} has no sound between samples {audio.start} and {audio.end} (it has {len(wave)} at 16 kHz). "
            "Compare the file with the corpus as published."
        )
    if random is None or audio.crop is None or len(piece) <= audio.crop:
        return piece
    start = int(random.integers(len(piece) - audio.crop + 1))
    return piece[start : start + audio.crop]


def decode(path: Path) -> Tensor:
    """Returns the complete file as (samples,) at 16 kHz, averaged over channels; raises `BadAudio`."""
    with opened(path) as streams:
        rate = streams[0].samplerate
        parts = [_samples(path, stream) for stream in streams]
        if streams[0].format == "FLAC":
            must_be_one_flac(path, streams[0])
        if len(parts[0]) and all(is_one_channel_of_integers(stream) for stream in streams):  # no sample can be invalid
            wave = torch.from_numpy(np.concatenate(parts)[:, 0] if len(parts) > 1 else parts[0][:, 0])
        else:
            wave = torch.from_numpy(_mono(path, parts[0] if len(parts) == 1 else np.concatenate(parts)))
    return wave if rate == SAMPLE_RATE else _resampled(wave, rate)


def header(path: Path) -> tuple[int, int]:
    """Returns (samples, sample rate) of the header; raises `BadAudio` if it is unreadable, or declares more than the file has.

    A stream without a declared length (FLAC from a pipe) is decoded to find it.
    """
    with opened(path) as streams:
        return _facts(path, streams)


def checked(path: Path) -> tuple[int, int]:
    """Returns the same as `header`, after further checks: the last sample of a compressed file must exist, and a file with
    float samples or several channels is decoded if its first seconds exceed full scale or cancel. Raises `BadAudio`."""
    with opened(path) as streams:
        facts = _facts(path, streams)
        for stream in streams:
            if stream.format in COMPRESSED and 0 < stream.frames < ENDLESS:
                stream.seek(stream.frames - 1)
                if len(stream.read(1)) != 1:
                    raise BadAudio(f"{path} is cut off: its last sample is missing. Fetch the file again.")
                stream.seek(0)
        doubtful = any(_doubtful(stream) for stream in streams)
    if doubtful:
        decode(path)
    return facts


def _facts(path: Path, streams: list[Stream]) -> tuple[int, int]:
    return sum(_length(path, stream) for stream in streams), streams[0].samplerate


def _doubtful(stream: Stream) -> bool:
    """Returns True if `decode` may reject the stream, judged by its first seconds."""
    if stream.channels == 1 and stream.subtype not in ("FLOAT", "DOUBLE"):
        return False
    start = stream.read(min(LOOK_SECONDS * stream.samplerate, BLOCK), dtype="float32", always_2d=True)
    return bool(len(start)) and (_peak(start) > LOUDEST or _cancels(start))


def _length(path: Path, stream: Stream) -> int:
    return stream.frames if stream.frames < ENDLESS else len(_samples(path, stream))


def _samples(path: Path, stream: Stream) -> np.ndarray:
    """Returns all samples (time, channel); raises `BadAudio` if there are fewer than the header declares."""
    if stream.frames < ENDLESS:
        samples = stream.read(stream.frames, dtype="float32", always_2d=True)
    else:
        samples = np.concatenate(list(_blocks(stream)))
    if len(samples) < stream.frames < UNTOLD:
        raise BadAudio(
            f"{path} is cut off or damaged: of the {stream.frames} samples that it promises, {len(samples)} can be decoded. "
            "Fetch the file again."
        )
    return samples


def _blocks(stream: Stream) -> Iterator[np.ndarray]:
    block = stream.read(BLOCK, dtype="float32", always_2d=True)
    yield block
    while len(block):
        yield (block := stream.read(BLOCK, dtype="float32", always_2d=True))


def _mono(path: Path, samples: np.ndarray) -> np.ndarray:
    """Returns the mean over channels of (time, channel); raises `BadAudio` for samples that cannot be valid sound."""
    if not len(samples):
        raise BadAudio(f"{path} holds no samples. Fetch the file again, or take it out of the corpus lists.")
    peak = _peak(samples)
    if not math.isfinite(peak):
        raise BadAudio(f"{path} holds NaN or infinite samples. Fetch the file again.")
    if peak > LOUDEST:
        raise BadAudio(
            f"{path} holds samples up to {peak:.6g}, and full scale is 1: probably integers were saved as floats. "
            f"Divide them by {next((whole for whole in WHOLE if peak <= whole), WHOLE[-1])}, and save the file again."
        )
    if samples.shape[1] > 1 and _cancels(samples):
        raise BadAudio(
            f"The {samples.shape[1]} channels of {path} cancel each other: their mean is nearly silent, the channels are not. "
            f"Take one (sox {path.name} one.wav remix 1), or invert one of them."
        )
    return np.ascontiguousarray(samples.mean(axis=1))


def _peak(samples: np.ndarray) -> float:
    return max(float(samples.max()), -float(samples.min()))


def _cancels(samples: np.ndarray) -> bool:
    """Returns True if the mean of (time, channel) is nearly silent compared with the channels."""
    power = float(np.square(samples, dtype=np.float64).mean(axis=0).max())
    return float(np.square(samples.mean(axis=1), dtype=np.float64).mean()) < CANCELLED * power


def _resampled(wave: Tensor, rate: int) -> Tensor:
    """Returns (samples,) at 16 kHz, resampled by torchaudio, or by soxr if torchaudio's filters would take gigabytes."""
    common = math.gcd(rate, SAMPLE_RATE)
    if (rate // common) * (SAMPLE_RATE // common) <= LARGEST_BANK:
        return torchaudio.functional.resample(wave, rate, SAMPLE_RATE)
    length = math.ceil(len(wave) * SAMPLE_RATE / rate)
    resampled = torch.from_numpy(soxr.resample(wave.numpy(), rate, SAMPLE_RATE))[:length]
    return torch.nn.functional.pad(resampled, (0, length - len(resampled)))


def without_silence(wave: Tensor) -> Tensor:
    """Returns `wave` (samples,) without leading silence and without later silences of 0.1 s or more.

    It replaces SoX `silence 1 0.1 0.1% -1 0.1 0.1%` (ASV's preprocessing, protocol 2.8): silence is where the RMS over 20 ms
    stays under 0.1 % of full scale. SoX counts its windows differently, so sample counts differ a little; results note this.
    If nothing is louder than that, the wave is returned unchanged.
    """
    window, least = int(RMS_SECONDS * SAMPLE_RATE), int(SILENCE_SECONDS * SAMPLE_RATE)
    energy = np.concatenate([[0.0], np.cumsum(wave.double().square().numpy())])
    middle = np.arange(len(wave))
    first, last = np.maximum(middle - window // 2, 0), np.minimum(middle + window // 2, len(wave))
    power = (energy[last] - energy[first]) / (last - first)
    loud = np.concatenate([[False], power > SILENCE_AMPLITUDE**2, [False]])
    edges = np.flatnonzero(loud[1:] != loud[:-1]).reshape(-1, 2)
    if not len(edges):
        return wave
    kept: list[list[int]] = []
    for start, end in edges.tolist():
        if kept and start - kept[-1][1] < least:
            kept[-1][1] = end
        else:
            kept.append([start, end])
    return torch.cat([wave[start:end] for start, end in kept])
