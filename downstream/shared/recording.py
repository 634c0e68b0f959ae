"""What happens to a voice on its way into a file: breath, the room's and the microphone's colour, background noise, level.

All waveforms are float32 at 16 kHz; everything random is drawn from the generator that is given.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from superbench import SAMPLE_RATE

SPEECH_RMS = 10 ** (-26 / 20)
"""Level of speech of volume 1: 26 dB under full scale while somebody speaks."""

LEVEL_DECIBELS = 3.0
CHANNEL_DECIBELS = 3.0
CEILING = 0.98


def background(seconds: float, seed: int) -> np.ndarray:
    """A stretch (samples,) of background noise: coloured by chance between white and brown, slowly rising and falling."""
    return noise(round(seconds * SAMPLE_RATE), np.random.default_rng([seed, 7]))


def noise(samples: int, random: np.random.Generator) -> np.ndarray:
    """Background noise (samples,) of speech's level."""
    slope = random.uniform(0.3, 1.6)  # power falls as frequency to this
    swell = random.uniform(0.0, 0.4)
    size = fft.next_fast_len(samples, real=True)
    spectrum = fft.rfft(random.standard_normal(size).astype(np.float32))
    frequencies = np.maximum(np.arange(len(spectrum)) * SAMPLE_RATE / size, 60.0)
    wave = fft.irfft(spectrum * frequencies ** (-slope / 2), size)[:samples]
    time = np.arange(samples) / SAMPLE_RATE
    wave = wave * (1 + swell * np.sin(2 * np.pi * (random.uniform(0.2, 1.5) * time + random.uniform())))
    return (wave * (SPEECH_RMS / _rms(wave))).astype(np.float32)


def breathe(speech: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """`speech` with hiss that follows its envelope; `amount` is their ratio of amplitudes."""
    width = SAMPLE_RATE // 50
    envelope = np.sqrt(np.convolve(speech**2, np.full(width, 1 / width, np.float32), "same").clip(0))
    hiss = np.diff(random.standard_normal(len(speech) + 1)) / np.sqrt(2)
    return (speech + amount * envelope * hiss).astype(np.float32)


def colour(speech: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """`speech` through a mild random channel: a smooth gain over frequency of about ±3 dB, and no bass."""
    size = fft.next_fast_len(len(speech) + SAMPLE_RATE // 10, real=True)
    position = np.linspace(0, 1, size // 2 + 1)
    waves = [random.normal() / (k + 1) * np.cos(np.pi * (k + 1) * position) for k in range(4)]
    decibels = CHANNEL_DECIBELS * np.sum(waves, axis=0)
    bass = (position * SAMPLE_RATE / 2 / random.uniform(60, 160)) ** 2
    spectrum = fft.rfft(speech, size) * 10 ** (decibels / 20) * bass / (1 + bass)
    return fft.irfft(spectrum, size)[: len(speech)].astype(np.float32)


def levelled(speech: np.ndarray, volume: float) -> np.ndarray:
    """`speech` at the level of speech times `volume`, as measured where it is not silent."""
    loud = speech[np.abs(speech) > 0.02 * np.abs(speech).max()]
    return (speech * (volume * SPEECH_RMS / _rms(loud))).astype(np.float32)


def placed(speech: np.ndarray, samples: int, random: np.random.Generator) -> tuple[np.ndarray, int]:
    """`speech` at a random place in silence (samples,), cut at the end where it is longer, and the sample where it begins."""
    start = int(random.integers(max(samples - len(speech), 0) + 1))
    wave = np.zeros(samples, np.float32)
    wave[start : start + len(speech)] = speech[:samples]
    return wave, start


def limited(wave: np.ndarray, peak: float | None) -> np.ndarray:
    """`wave` with its highest sample at `peak`; without one, as it is, or just under full scale if it would clip."""
    highest = float(np.abs(wave).max())
    if peak is None and highest <= CEILING:
        return wave
    return wave * np.float32((CEILING if peak is None else peak) / highest)


def _rms(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) or 1.0
