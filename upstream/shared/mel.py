"""The input of the native models: log-mel spectra, normalised per utterance, with neighbouring frames stacked."""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor, nn

from superbench import SAMPLE_RATE

WINDOW, SHIFT, FLOOR = 400, 160, 1e-6


class LogMel(nn.Module):
    """Waves (batch, samples) and lengths → (batch, time, bins · stack) and frames of each, zeros beyond them.

    25 ms Hann windows every 10 ms from sample 0 on, `bins` mel bands, logarithm, zero mean and unit variance of each band over
    the frames of the utterance; then `stack` frames are stacked, so that a frame lasts `stack` · 10 ms. A sound shorter than
    one frame is padded to one.
    """

    def __init__(self, bins: int, stack: int) -> None:
        super().__init__()
        self.bins, self.stack = bins, stack
        self.hop, self.dim = SHIFT * stack, bins * stack
        self.least = WINDOW + SHIFT * (stack - 1)
        self.mel = MelPower(bins)

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (batch, time, bins · stack), (batch); always in float32: half precision is too coarse for quiet bands."""
        with torch.autocast(waves.device.type, enabled=False):
            return self._stacked(waves, lengths)

    def _stacked(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        waves = nn.functional.pad(waves, (0, max(self.least - waves.shape[1], 0)))
        mel = (self.mel(waves) + FLOOR).log().transpose(1, 2)  # (batch, time, bins)
        own = (lengths.clamp(min=self.least) - WINDOW) // SHIFT + 1
        inside = (torch.arange(mel.shape[1], device=mel.device)[None] < own[:, None])[..., None]
        count = own[:, None, None]
        mean = (mel * inside).sum(1, keepdim=True) / count
        centred = (mel - mean) * inside
        spread = (centred.square().sum(1, keepdim=True) / count).sqrt()
        mel = centred / (spread + 1e-5)
        frames = own // self.stack
        mel = mel[:, : int(frames.max()) * self.stack]
        stacked = mel.reshape(len(mel), -1, self.dim)
        inside = torch.arange(stacked.shape[1], device=mel.device)[None] < frames[:, None]
        return stacked * inside[..., None], frames


class MelPower(torchaudio.transforms.MelSpectrogram):
    """Waves (batch, samples) → (batch, bins, time): power in mel bands, 25 ms Hann windows every 10 ms from sample 0 on.

    The power is the sum of the squared real and imaginary parts; computing the magnitude first takes three times as long.
    """

    def __init__(self, bins: int) -> None:
        super().__init__(SAMPLE_RATE, n_fft=WINDOW, hop_length=SHIFT, n_mels=bins, center=False, power=None, mel_scale="htk")

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, bins, time)."""
        spectrum = self.spectrogram(waveform)
        return self.mel_scale(spectrum.real.square() + spectrum.imag.square())
