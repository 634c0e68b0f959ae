"""One audio reference to one waveform: 16 kHz, mono, float32 in [-1, 1].

Decoding is libsndfile's (wav, flac, mp3, ogg). What cannot be used is an error that names the file: zero samples, NaN, an
unreadable header, or a wav whose data chunk was cut off (libsndfile reads that one without a word).
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from torch import Tensor

from superbench.contract import SAMPLE_RATE, Audio
from superbench.errors import BadAudio

STREAMING_SIZES = frozenset({0, 0x7FFFFFFF, 0x7FFFFFFF - 36, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0xFFFFFFFF - 44})
"""Data sizes that writers put into a wav header when they do not know the length yet (pipes)."""

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
    header(path)
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise BadAudio(f"{path} cannot be decoded: {error} Fetch the file again.") from error
    wave = torch.from_numpy(np.ascontiguousarray(samples.mean(axis=1)))
    if not len(wave):
        raise BadAudio(f"{path} holds no samples. Fetch the file again, or take it out of the corpus lists.")
    if not torch.isfinite(wave).all():
        raise BadAudio(f"{path} holds NaN or infinite samples. Fetch the file again.")
    return wave if rate == SAMPLE_RATE else torchaudio.functional.resample(wave, rate, SAMPLE_RATE)


def header(path: Path) -> tuple[int, int]:
    """(samples, sample rate) from the header; raises `BadAudio` if it is unreadable, or promises more than the file has."""
    try:
        with path.open("rb") as file:
            start = file.read(12)
            if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
                _check_data_chunk(path, file)
        facts = soundfile.info(str(path))
    except FileNotFoundError as error:
        raise BadAudio(f"{path} is listed in the corpus but not there. Complete the corpus, or mend the list.") from error
    except (OSError, soundfile.LibsndfileError, RuntimeError) as error:
        raise BadAudio(f"{path} is not a readable sound file: {error} Fetch the file again.") from error
    return int(facts.frames), int(facts.samplerate)


def _check_data_chunk(path: Path, file: object) -> None:
    size = path.stat().st_size
    position = 12
    while position + 8 <= size:
        file.seek(position)  # type: ignore[attr-defined]
        name, length = struct.unpack("<4sI", file.read(8))  # type: ignore[attr-defined]
        if name == b"data":
            if length not in STREAMING_SIZES and position + 8 + length > size:
                raise BadAudio(
                    f"{path} is cut off: its header promises {length} bytes of sound, the file has {size - position - 8}. "
                    "Fetch the file again."
                )
            return
        position += 8 + length + length % 2
    raise BadAudio(f"{path} is cut off: it ends before any sound ({size} bytes). Fetch the file again.")


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
