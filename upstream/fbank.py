"""Filter banks: 80 log-mel bins with their first and second differences, the baseline row of every SUPERB table.

Exactly the reference's features (SUPERB, Yang et al. 2021, arXiv 2105.01051): Kaldi filter banks on the wave in [-1, 1], 25 ms
windows every 10 ms, no dither; differences over five frames; then mean and variance normalisation of each utterance, only
for `fbank`. If a head averages over time, this normalisation removes everything, so the public leaderboard uses `fbank_no_cmvn`
for KS, SID, IC and ER.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.compliance import kaldi
from torchaudio.transforms import ComputeDeltas

from superbench import SAMPLE_RATE, Features

WINDOW = 400
BINS = 80
EPSILON = 1e-10


class FbankNoCmvn(nn.Module):
    """Log-mel filter banks with differences, (1, batch, time, 240); T = floor((samples - 400) / 160) + 1.

    A sound shorter than one window is padded with zeros to one window.
    """

    sample_rate, hop, layers, dim = SAMPLE_RATE, 160, 1, 3 * BINS
    normalise = False

    def __init__(self) -> None:
        super().__init__()
        self.deltas = ComputeDeltas(win_length=5)

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the features of a batch.

        The filter banks are computed on the concatenated utterances, each padded to a multiple of the shift. Frames are
        independent of each other, and frames that reach into the next utterance are left out.
        """
        padded = -(-max(waves.shape[1], WINDOW) // self.hop) * self.hop
        line = nn.functional.pad(waves, (0, padded - waves.shape[1])).reshape(1, -1)
        mel = kaldi.fbank(line, num_mel_bins=BINS, sample_frequency=SAMPLE_RATE, frame_length=25.0, frame_shift=10.0)
        counts = (lengths.clamp(min=WINDOW) - WINDOW) // self.hop + 1
        time, first = torch.arange(int(counts.max()), device=waves.device), torch.arange(len(waves), device=waves.device)
        indices = time.minimum(counts[:, None] - 1)  # beyond the end of an utterance, its last frame is repeated
        bands = mel[first[:, None] * (padded // self.hop) + indices]
        parts = [bands]
        for _ in range(2):
            parts.append(self.deltas(parts[-1].mT).mT.gather(1, indices[..., None].expand_as(bands)))
        frames, inside = torch.cat(parts, dim=2), (time < counts[:, None])[..., None]
        return Features(((normalised(frames, inside) if self.normalise else frames) * inside)[None], counts)


class Fbank(FbankNoCmvn):
    """`FbankNoCmvn` with zero mean and unit variance of each bin in each utterance."""

    normalise = True
    without_means = "fbank_no_cmvn, the row of the public leaderboard, has features without this normalisation"


def normalised(frames: Tensor, inside: Tensor) -> Tensor:
    """Normalises (batch, time, dim) to zero mean and unit (unbiased) variance over `inside`.

    A single frame keeps variance 0.
    """
    count = inside.sum(1, keepdim=True)
    centred = frames - (frames * inside).sum(1, keepdim=True) / count
    spread = ((centred * inside).square().sum(1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
    return centred / (EPSILON + spread)
