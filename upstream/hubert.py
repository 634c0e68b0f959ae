"""HuBERT: a convolutional front end and a Transformer that predicts the k-means units of masked spans.

Hsu, Bolte, Tsai, Lakhotia, Salakhutdinov, Mohamed (2021), arXiv 2106.07447. The units of the first iteration come from MFCC;
those of the second (`superbench pretrain hubert --teacher hubert@FIRST`) come from the middle layer of the first model. Masked
spans of ten frames begin at 8 % of the frames. The loss is the cross-entropy over the cosines to the units' embeddings, divided
by 0.1, on masked frames only (`mini`, whose training takes minutes, uses visible frames too: the paper's α = 0.5). `base` has
the published size (seven convolutions of 512, 12 layers of 768, 13 hidden states, 20 ms, 94.7 M weights with the 500 units). As
in wav2vec 2.0 of that size the first convolution is normalised over time, but only over the frames of the utterance, so that
padding has no effect. Layers are never dropped (published: 5 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torchaudio
from torch import Tensor, nn

from superbench import SAMPLE_RATE, CommandError, Features, Pretraining, Upstream
from upstream.shared.group_norm import kept
from upstream.shared.mel import LogMel
from upstream.shared.units import Units
from upstream.shared.waves import ConvolutionalPositions, Convolutions

COEFFICIENTS = 13


@dataclass(frozen=True)
class HubertConfig:
    """Sizes. Units are found in `fit_seconds` of sound, from vectors of `unit_dim` per frame: 39 for MFCC, or the width of the
    teacher. Masked spans of `span` frames begin at a share `start` of the frames; `alpha` is the weight of masked frames in the
    loss. The gradient of the front end is multiplied by `front_gradient`.
    """

    channels: int = 512
    width: int = 768
    layers: int = 12
    heads: int = 12
    feedforward: int = 3072
    dropout: float = 0.1
    position_kernel: int = 128
    position_groups: int = 16
    units: int = 500
    unit_dim: int = 3 * COEFFICIENTS
    code: int = 256
    temperature: float = 0.1
    alpha: float = 1.0
    start: float = 0.08
    span: int = 10
    front_gradient: float = 0.1
    penalty: float = 10.0
    fit_seconds: float = 3600.0


class Mfcc(nn.Module):
    """Waves → (batch, time, 39), one frame every 20 ms: cepstrum of the normalised log-mel and its differences."""

    transform: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.mel = LogMel(40, 1)
        self.register_buffer("transform", torchaudio.functional.create_dct(COEFFICIENTS, 40, "ortho"), persistent=False)

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Returns frames that start at the same samples as the frames of the front end."""
        cepstrum = (self.mel(waves, lengths)[0] @ self.transform).transpose(1, 2)  # (batch, coefficient, time)
        slope = torchaudio.functional.compute_deltas(cepstrum)
        return torch.cat([cepstrum, slope, torchaudio.functional.compute_deltas(slope)], dim=1).transpose(1, 2)[:, ::2]


class Hubert(nn.Module):
    """Hidden states (layers + 1, batch, time, width): the input of the first layer, then each layer's output."""

    configs: ClassVar = {
        "mini": HubertConfig(
            channels=48, width=192, layers=3, heads=4, feedforward=384, dropout=0.0, position_kernel=32, units=100, code=64,
            alpha=0.5, span=5, front_gradient=1.0, penalty=0.0, fit_seconds=600.0,
        ),
        "base": HubertConfig(),
    }  # fmt: skip
    pretraining: ClassVar = {
        "mini": Pretraining(steps=400, batch=8, seconds=1.5, learning_rate=3e-3),
        "base": Pretraining(steps=400_000, batch=32, seconds=15.0, learning_rate=5e-4, warmup=0.08, clip=10.0),
    }

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.config = config
        self.convolutions = Convolutions(config.channels)
        self.sample_rate, self.hop, self.layers, self.dim = SAMPLE_RATE, self.convolutions.hop, config.layers + 1, config.width
        self.prepare_seconds = config.fit_seconds
        self.local_norm = nn.LayerNorm(config.channels)
        self.project = nn.Linear(config.channels, config.width)
        self.hidden = nn.Parameter(torch.rand(config.width))
        self.positions = ConvolutionalPositions(config.width, config.position_kernel, config.position_groups)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(config.width, config.heads, config.feedforward, config.dropout, "gelu", batch_first=True)
            for _ in range(config.layers)
        )
        self.head = nn.Linear(config.width, config.code)
        self.codes = nn.Parameter(torch.randn(config.units, config.code))
        self.mfcc = Mfcc()
        self.units = Units(config.units, config.unit_dim)
        self._teacher: tuple[Upstream, ...] = ()  # in a tuple, so that its weights do not become weights of this model

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch."""
        local, frames = self.convolutions(waves, lengths)
        inside = kept(frames, local.shape[1])
        return Features(torch.stack(self._states(self.project(self.local_norm(local)), inside)) * inside[..., None], frames)

    def loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Computes the cross-entropy of the units (α on masked, 1 - α on visible frames) plus a penalty on large features."""
        local, frames = self.convolutions(waves, lengths)
        inside = kept(frames, local.shape[1])
        gradient = self.config.front_gradient
        if gradient != 1:
            local = local * gradient + local.detach() * (1 - gradient)
        masked = self.spans(inside)
        visible = torch.where(masked[..., None], self.hidden, self.project(self.local_norm(local)))
        with torch.no_grad():
            targets = self.targets(waves, lengths, local.shape[1])
        predicted = nn.functional.normalize(self.head(self._states(visible, inside)[-1]), dim=-1)  # (batch, time, code)
        cosines = predicted @ nn.functional.normalize(self.codes, dim=-1).T
        errors = nn.functional.cross_entropy(cosines.transpose(1, 2) / self.config.temperature, targets, reduction="none")
        weight = torch.where(masked, self.config.alpha, 1 - self.config.alpha) * inside
        return (errors * weight).sum() / weight.sum() + self.config.penalty * local[inside].square().mean()

    def prepare(self, waves: Sequence[Tensor], seed: int, teacher: Upstream | None) -> None:
        """Finds the units in MFCC, or in the middle layer of a teacher, which is then kept to compute targets."""
        if teacher is not None:
            self.config = replace(self.config, unit_dim=teacher.dim)
            self._teacher = (teacher,)
            self.units = Units(self.config.units, teacher.dim).to(self.hidden.device)
        self.units.fit((self._described(wave[None], torch.tensor([len(wave)], device=wave.device))[0] for wave in waves), seed)

    def targets(self, waves: Tensor, lengths: Tensor, time: int) -> Tensor:
        """Returns the unit of each frame: (batch, time)."""
        described = self._described(waves, lengths)
        indices = torch.arange(time, device=waves.device).clamp(max=described.shape[1] - 1)
        return self.units(described[:, indices])

    def _described(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Returns the vectors to which units are assigned, one every 20 ms: (batch, time, unit_dim)."""
        if self._teacher:
            teacher = self._teacher[0]
            states = teacher(waves, lengths).frames[teacher.layers // 2]
            time = -(-states.shape[1] * teacher.hop // self.hop)
            indices = torch.arange(time, device=states.device) * self.hop // teacher.hop
            return states[:, indices.clamp(max=states.shape[1] - 1)]
        if self.config.unit_dim != 3 * COEFFICIENTS:
            raise CommandError(
                f"The units of this hubert were found in a teacher's features ({self.config.unit_dim} values per frame), but "
                "no teacher is given. Train it with --teacher SPEC."
            )
        cepstra: Tensor = self.mfcc(waves, lengths)
        return cepstra

    def _states(self, x: Tensor, inside: Tensor) -> list[Tensor]:
        x = x * inside[..., None]  # the positional convolution reads beyond the end
        x = self.dropout(self.norm(x + self.positions(x)))
        states = [x]
        for block in self.blocks:
            x = block(x, src_key_padding_mask=~inside)
            states.append(x)
        return states

    def spans(self, inside: Tensor) -> Tensor:
        """Draws masked frames (batch, time): spans begin at a share `start` of the frames; at least one in each sound."""
        begins = torch.rand(inside.shape, device=inside.device) < self.config.start
        rows = torch.arange(len(inside), device=inside.device)
        begins[rows, (torch.rand(len(inside), device=inside.device) * inside.sum(1)).long()] = True
        reach = nn.functional.pad(begins.float(), (self.config.span - 1, 0)).unfold(1, self.config.span, 1)
        return (reach.amax(-1) > 0) & inside
