"""One audio reference to one waveform: 16 kHz, mono, float32, full scale 1.

Decoding is libsndfile's, by what a file holds and not by its suffix. What cannot be used is an error that names the file: zero
samples, NaN, an unreadable header, less sound than promised, numbers far beyond full scale, channels that cancel each other.
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
from superbench.data.sound_files import Stream, must_be_one_flac, opened
from superbench.errors import BadAudio

DECODING = 2
"""Raised whenever the same file gives another waveform: features that are stored were made of the former one. 2: sound of
unknown length is heard to its end; rates without a common divisor with 16 000 pass soxr."""
COMPRESSED = ("FLAC", "MP3", "OGG")
ENDLESS, UNTOLD = 2**31, 2**62
"""Samples beyond which a file is read block by block, lest a damaged header take all memory; and libsndfile's `unknown`."""
BLOCK = 2**20

LOUDEST = 4.0
"""Largest sample that may be meant: mixing, resampling and mp3 go a little beyond 1, whole numbers as floats a thousandfold."""
WHOLE = (2**7, 2**15, 2**23, 2**31)
"""Full scale of whole numbers of 8 to 32 bits."""
CANCELLED = 0.01
"""Power of a mean over that of its loudest channel (-20 dB) under which channels cancel; those of a recording lose 3 dB."""
LOOK_SECONDS = 10
LARGEST_BANK = 1_000_000
"""Numbers in torchaudio's filters for a pair of rates (each divided by the common divisor, multiplied): 4 MB. Rates in use have
282 240 (11 025 Hz) or fewer; 22 254 Hz would have 89 million, 16 001 Hz 256 million."""

SILENCE_AMPLITUDE = 0.001
SILENCE_SECONDS = 0.1
RMS_SECONDS = 0.02


def load(audio: Audio, random: np.random.Generator | None = None) -> Tensor:
    """The waveform (samples,) that `audio` refers to: decoded, mixed to mono, resampled, amplified, trimmed, then cut.

    `random` draws where a crop lies; without it the sound comes whole. Raises `BadAudio`, naming the file and what is wrong
    with it.
    """
    wave = decode(audio.path)
    if audio.gain_db:
        wave = wave * 10 ** (audio.gain_db / 20)
    if audio.trim:
        wave = without_silence(wave)
    piece = wave[audio.start : audio.end]
    if not len(piece):
        raise BadAudio(
            f"{audio.path} has nothing between samples {audio.start} and {audio.end} (it holds {len(wave)} at 16 kHz). "
            "Compare the file with the corpus as published."
        )
    if random is None or audio.crop is None or len(piece) <= audio.crop:
        return piece
    start = int(random.integers(len(piece) - audio.crop + 1))
    return piece[start : start + audio.crop]


def decode(path: Path) -> Tensor:
    """The whole file as (samples,) at 16 kHz, channels averaged."""
    with opened(path) as streams:
        rate = streams[0].samplerate
        parts = [_samples(path, stream) for stream in streams]
        if streams[0].format == "FLAC":
            must_be_one_flac(path)
    wave = torch.from_numpy(_mono(path, parts[0] if len(parts) == 1 else np.concatenate(parts)))
    return wave if rate == SAMPLE_RATE else _resampled(wave, rate)


def header(path: Path) -> tuple[int, int]:
    """(samples, sample rate) as the file says; raises `BadAudio` if it is unreadable, or promises more than the file has.

    A stream that does not say how long it is (FLAC from a pipe) is decoded for it.
    """
    with opened(path) as streams:
        return _facts(path, streams)


def checked(path: Path) -> tuple[int, int]:
    """As `header`, after a look at what no header shows: of a compressed file whether its last sample is there, of numbers that
    may exceed full scale, and of channels that may cancel, the first seconds."""
    with opened(path) as streams:
        facts = _facts(path, streams)
        for stream in streams:
            if stream.format in COMPRESSED and 0 < stream.frames < ENDLESS:
                stream.seek(stream.frames - 1)
                if len(stream.read(1)) != 1:
                    raise BadAudio(f"{path} is cut off: its last sample is not there. Fetch the file again.")
                stream.seek(0)
        doubtful = any(_doubtful(stream) for stream in streams)
    if doubtful:
        decode(path)
    return facts


def _facts(path: Path, streams: list[Stream]) -> tuple[int, int]:
    return sum(_length(path, stream) for stream in streams), streams[0].samplerate


def _doubtful(stream: Stream) -> bool:
    """Do its first seconds look like a sound that `decode` refuses?"""
    if stream.channels == 1 and stream.subtype not in ("FLOAT", "DOUBLE"):
        return False
    start = stream.read(min(LOOK_SECONDS * stream.samplerate, BLOCK), dtype="float32", always_2d=True)
    return bool(len(start)) and (_peak(start) > LOUDEST or _cancels(start))


def _length(path: Path, stream: Stream) -> int:
    return stream.frames if stream.frames < ENDLESS else len(_samples(path, stream))


def _samples(path: Path, stream: Stream) -> np.ndarray:
    """All samples (time, channel); raises `BadAudio` if they are fewer than the file says."""
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
    """The mean over channels of (time, channel); raises `BadAudio` for what cannot be meant as sound."""
    if not len(samples):
        raise BadAudio(f"{path} holds no samples. Fetch the file again, or take it out of the corpus lists.")
    peak = _peak(samples)
    if not math.isfinite(peak):
        raise BadAudio(f"{path} holds NaN or infinite samples. Fetch the file again.")
    if peak > LOUDEST:
        raise BadAudio(
            f"{path} holds samples up to {peak:.6g}, and full scale is 1: it seems that whole numbers were saved as floats. "
            f"Divide them by {next((whole for whole in WHOLE if peak <= whole), WHOLE[-1])}, and save the file again."
        )
    if samples.shape[1] > 1 and _cancels(samples):
        raise BadAudio(
            f"The {samples.shape[1]} channels of {path} cancel each other: their mean is nearly silent, and they are not. Take "
            f"one (sox {path.name} one.wav remix 1), or turn one's sign."
        )
    return np.ascontiguousarray(samples.mean(axis=1))


def _peak(samples: np.ndarray) -> float:
    return max(float(samples.max()), -float(samples.min()))


def _cancels(samples: np.ndarray) -> bool:
    """Is the mean of (time, channel) silent against the channels?"""
    power = float(np.square(samples, dtype=np.float64).mean(axis=0).max())
    return float(np.square(samples.mean(axis=1), dtype=np.float64).mean()) < CANCELLED * power


def _resampled(wave: Tensor, rate: int) -> Tensor:
    """(samples,) at 16 kHz: by the filter bank of torchaudio, or by soxr where that would take gigabytes."""
    common = math.gcd(rate, SAMPLE_RATE)
    if (rate // common) * (SAMPLE_RATE // common) <= LARGEST_BANK:
        return torchaudio.functional.resample(wave, rate, SAMPLE_RATE)
    length = math.ceil(len(wave) * SAMPLE_RATE / rate)
    found = torch.from_numpy(soxr.resample(wave.numpy(), rate, SAMPLE_RATE))[:length]
    return torch.nn.functional.pad(found, (0, length - len(found)))


def without_silence(wave: Tensor) -> Tensor:
    """`wave` (samples,) without leading silence and without every later silence of at least 0.1 s.

    Stands for SoX `silence 1 0.1 0.1% -1 0.1 0.1%` (ASV's preprocessing, protocol 2.8): silence is where the RMS over 20 ms
    stays under 0.1 % of full scale. SoX counts its windows differently, so sample counts differ a little; results say so.
    If nothing is louder than that, the wave comes back whole.
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
