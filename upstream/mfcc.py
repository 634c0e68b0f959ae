"""MFCC: 13 cepstral coefficients with first and second differences, normalised per utterance, by librosa.

Davis & Mermelstein (1980). 25 ms Hann windows every 10 ms without centring (frame t begins at sample 160 t), 512-point FFT, 40
mel bins from 20 Hz to 8 kHz, type-2 orthonormal DCT; differences over five frames.
"""

from __future__ import annotations

import librosa
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from superbench import SAMPLE_RATE, Features

WINDOW, FFT, COEFFICIENTS, MELS = 400, 512, 13, 40
EPSILON = 1e-10


class Mfcc(nn.Module):
    """(1, batch, time, 39); T = floor((samples - 400) / 160) + 1; a shorter sound is padded with zeros to one window."""

    sample_rate, hop, layers, dim = SAMPLE_RATE, 160, 1, 3 * COEFFICIENTS

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Computes the features of each utterance only from its own samples."""
        frames = [self._one(wave[:length].cpu().numpy()) for wave, length in zip(waves, lengths.tolist(), strict=True)]
        counts = torch.tensor([len(utterance) for utterance in frames], device=waves.device)
        return Features(pad_sequence(frames, batch_first=True).to(waves.device)[None], counts)

    def _one(self, wave: np.ndarray) -> Tensor:
        wave = np.pad(wave, (0, max(WINDOW - len(wave), 0)))
        count = (len(wave) - WINDOW) // self.hop + 1
        padded = np.pad(wave, (0, FFT))  # the FFT is longer than the window, which is at its beginning
        window = np.pad(np.hanning(WINDOW + 1)[:-1], (0, FFT - WINDOW))
        pieces = np.lib.stride_tricks.sliding_window_view(padded, FFT)[:: self.hop][:count] * window
        power = np.abs(np.fft.rfft(pieces, axis=1)) ** 2
        mel = power @ librosa.filters.mel(sr=SAMPLE_RATE, n_fft=FFT, n_mels=MELS, fmin=20.0).T
        cepstra = librosa.feature.mfcc(S=librosa.power_to_db(mel.T), n_mfcc=COEFFICIENTS)
        mode = "nearest"  # replicates the edge, so that a sound of any length has differences
        parts = [cepstra, *(librosa.feature.delta(cepstra, width=5, order=order, mode=mode) for order in (1, 2))]
        frames = np.concatenate(parts).T
        frames = (frames - frames.mean(0)) / (EPSILON + frames.std(0))
        return torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))
