"""The base of Mockingjay and TERA: a Transformer over log-mel frames that reconstructs masked parts of the spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from upstream.shared.transformer import MelTransformer, TransformerConfig


@dataclass(frozen=True)
class MaskedConfig(TransformerConfig):
    """Sizes and masks: a share `time` of the frames in spans of `span`; up to a share `bands` of the mel bands (0 = never)."""

    time: float = 0.15
    span: int = 7
    bands: float = 0.0


class MaskedTransformer(MelTransformer):
    """The Transformer, and a head that reconstructs the spectrum from its last layer."""

    def __init__(self, config: MaskedConfig) -> None:
        super().__init__(config)
        self.config = config
        self.reconstruct = nn.Sequential(
            nn.Linear(config.width, config.width),
            nn.GELU(),
            nn.LayerNorm(config.width, eps=1e-12),
            nn.Linear(config.width, self.mel.dim),
        )

    def loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Computes the mean absolute error of the reconstructed spectrum where it was masked."""
        mel, frames = self.mel(waves, lengths)
        inside = self.inside(mel, frames)
        seen, hidden = self.corrupt(mel, inside)
        restored = self.reconstruct(self.states(seen, inside)[-1])
        return ((restored - mel).abs() * hidden).sum() / hidden.sum().clamp(min=1)

    def corrupt(self, mel: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Masks (batch, time, mel); returns the input of the model, and which cells it must reconstruct (0 or 1, same shape).

        Spans of frames are set to zero (80 %), to frames from elsewhere in the utterance (10 %) or left as they are (10 %), one
        draw per utterance; then, if the configuration has `bands`, one block of neighbouring bands, of random width, is set to
        zero in half of the utterances.
        """
        chosen = self.spans(inside)
        fate = torch.rand(len(mel), 1, 1, device=mel.device)
        elsewhere = torch.gather(mel, 1, self._permutation(inside)[..., None].expand_as(mel))
        replaced = torch.where(fate < 0.8, torch.zeros_like(mel), torch.where(fate < 0.9, elsewhere, mel))
        seen = torch.where(chosen[..., None], replaced, mel)
        hidden = chosen[..., None].expand_as(mel)
        if self.config.bands:
            blocked = self._bands(len(mel), mel.device)[:, None].expand_as(mel)
            seen, hidden = seen.masked_fill(blocked, 0.0), hidden | blocked
        return seen, (hidden & inside[..., None]).to(mel.dtype)

    def spans(self, inside: Tensor) -> Tensor:
        """Draws spans with about `time` of the frames: a span begins with probability `time / span`.

        At least one frame each.
        """
        starts = torch.rand(inside.shape, device=inside.device) < self.config.time / self.config.span
        starts[torch.arange(len(inside)), (torch.rand(len(inside), device=inside.device) * inside.sum(1)).long()] = True
        reach = nn.functional.pad(starts.float(), (self.config.span - 1, 0)).unfold(1, self.config.span, 1)
        return (reach.amax(-1) > 0) & inside

    @staticmethod
    def _permutation(inside: Tensor) -> Tensor:
        """Draws random frames of the same utterance."""
        return (torch.rand(inside.shape, device=inside.device) * inside.sum(1, keepdim=True)).long()

    def _bands(self, batch: int, device: torch.device) -> Tensor:
        """Draws (batch, mel): one block of at most `bands` of the bands, equal in stacked frames.

        None in half of the utterances.
        """
        bins = self.config.bins
        width = (torch.rand(batch, 1, device=device) * (self.config.bands * bins + 1)).floor()
        width = width * (torch.rand(batch, 1, device=device) < 0.5)
        start = (torch.rand(batch, 1, device=device) * (bins - width + 1)).floor()
        band = torch.arange(bins, device=device)[None]
        return ((band >= start) & (band < start + width)).repeat(1, self.config.stack)
