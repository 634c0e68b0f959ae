"""Recording conditions of synthetic speech: breath, channel, background noise, level.

All waveforms are float32 at 16 kHz; all random numbers come from the generator that the caller passes.
"""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.ndimage import uniform_filter1d

from superbench import SAMPLE_RATE

SPEECH_RMS = 10 ** (-26 / 20)
"""Level of speech of volume 1, without pauses: 26 dB below full scale."""

LEVEL_DECIBELS = 3.0
CHANNEL_DECIBELS = 3.0
CEILING = 0.98


def background(seconds: float, seed: int) -> np.ndarray:
    """Returns background noise (samples,): a random colour between white and brown, with slowly changing level."""
    return noise(round(seconds * SAMPLE_RATE), np.random.default_rng([seed, 7]))


def noise(samples: int, random: np.random.Generator) -> np.ndarray:
    """Returns background noise (samples,) at the level of speech."""
    slope = random.uniform(0.3, 1.6)  # power is proportional to frequency ** -slope
    swell = random.uniform(0.0, 0.4)
    size = fft.next_fast_len(samples, real=True)
    spectrum = fft.rfft(random.standard_normal(size).astype(np.float32))
    frequencies = np.maximum(np.arange(len(spectrum), dtype=np.float32) * np.float32(SAMPLE_RATE / size), np.float32(60))
    wave = fft.irfft(spectrum * frequencies ** np.float32(-slope / 2), size)[:samples]
    turns = np.float32(random.uniform(0.2, 1.5) / SAMPLE_RATE) * np.arange(samples, dtype=np.float32)
    wave = wave * (1 + np.float32(swell) * np.sin(np.float32(2 * np.pi) * (turns + np.float32(random.uniform()))))
    return wave * np.float32(SPEECH_RMS / _rms(wave))


def breathe(speech: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Adds hiss that follows the envelope of `speech`; `amount` is the ratio of their amplitudes."""
    envelope = np.sqrt(uniform_filter1d(speech**2, SAMPLE_RATE // 50, mode="constant").clip(0))
    hiss = np.diff(random.standard_normal(len(speech) + 1).astype(np.float32))
    return speech + np.float32(amount / np.sqrt(2)) * envelope * hiss


def colour(speech: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Filters `speech` by a mild random channel: a smooth gain over frequency of about ±3 dB, and no bass."""
    size = fft.next_fast_len(len(speech) + SAMPLE_RATE // 10, real=True)
    position = np.linspace(0, 1, size // 2 + 1, dtype=np.float32)
    knots = np.linspace(0, 1, 257)
    waves = [random.normal() / (k + 1) * np.cos(np.pi * (k + 1) * knots) for k in range(4)]
    gain = np.interp(position, knots, 10 ** (CHANNEL_DECIBELS / 20 * np.sum(waves, axis=0))).astype(np.float32)
    bass = (position * np.float32(SAMPLE_RATE / 2 / random.uniform(60, 160))) ** 2
    spectrum = fft.rfft(speech, size) * (gain * bass / (1 + bass))
    return fft.irfft(spectrum, size)[: len(speech)]


def levelled(speech: np.ndarray, volume: float) -> np.ndarray:
    """Scales `speech` to the level of speech times `volume`; the level is measured without silence."""
    loud = speech[np.abs(speech) > 0.02 * np.abs(speech).max()]
    return (speech * (volume * SPEECH_RMS / _rms(loud))).astype(np.float32)


def placed(speech: np.ndarray, samples: int, random: np.random.Generator) -> tuple[np.ndarray, int]:
    """Puts `speech` at a random position in silence (samples,), cut at the end if it is longer.

    Returns it and its first sample.
    """
    start = int(random.integers(max(samples - len(speech), 0) + 1))
    wave = np.zeros(samples, np.float32)
    wave[start : start + len(speech)] = speech[:samples]
    return wave, start


def limited(wave: np.ndarray, peak: float | None) -> np.ndarray:
    """Scales `wave` so that its highest sample is `peak`; without `peak`, only a wave that would clip is scaled."""
    highest = float(np.abs(wave).max())
    if peak is None and highest <= CEILING:
        return wave
    return wave * np.float32((CEILING if peak is None else peak) / highest)


def _rms(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) or 1.0
