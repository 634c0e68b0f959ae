"""DistilHuBERT's recipe for any teacher: a small student predicts several of the teacher's hidden states from one of its own.

Chang, Yang, Lee (2022), "DistilHuBERT: speech representation learning by layer-wise distillation of hidden-unit BERT", arXiv
2110.01900. Seven convolutions over the wave, a projection, two Transformer layers; from the last one a head for each chosen
state of the teacher, at equal distances up to its last (of HuBERT's 12 layers: 4, 8, 12). Loss: L1 over the dimension plus
the log-sigmoid of the cosine. `base` is the published size (23.49 M weights without the heads, which are dropped afterwards);
three hidden states: the projection of the convolutions, then both layers. The teacher is any upstream, `--teacher SPEC`. If its
frames are longer or shorter than the student's 20 ms, the teacher's frame at the same time is used. As in the publication, the
student is initialised with its teacher's convolutions and first layers if the teacher has such parts in the same sizes, as
`hubert` has; the other parts have random weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from superbench import SAMPLE_RATE, CommandError, Features, Pretraining, Upstream
from upstream.shared.group_norm import kept
from upstream.shared.waves import ConvolutionalPositions, Convolutions


@dataclass(frozen=True)
class DistilConfig:
    """Sizes; `predicted` states of the teacher, and the weight of the cosine in the loss."""

    channels: int = 512
    width: int = 768
    layers: int = 2
    heads: int = 12
    feedforward: int = 3072
    dropout: float = 0.1
    kernel: int = 128
    groups: int = 16
    predicted: int = 3
    cosine: float = 1.0


class Distil(nn.Module):
    """The student; its prediction heads are in `scaffold`, and its teacher is no submodule."""

    prepare_seconds = 0.0
    scaffold: nn.ModuleList
    teacher: Upstream
    configs: ClassVar = {
        "mini": DistilConfig(channels=48, width=192, heads=4, feedforward=768, dropout=0.0, kernel=32),
        "base": DistilConfig(),
    }
    pretraining: ClassVar = {
        "mini": Pretraining(steps=250, batch=12, seconds=1.5, learning_rate=1e-3),
        "base": Pretraining(steps=200_000, batch=24, seconds=16.0, learning_rate=2e-4, whole_utterances=True),
    }

    def __init__(self, config: DistilConfig) -> None:
        super().__init__()
        self.config = config
        self.convolutions = Convolutions(config.channels)
        self.project = nn.Linear(config.channels, config.width)
        self.positions = ConvolutionalPositions(config.width, config.kernel, config.groups)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(config.width, config.heads, config.feedforward, config.dropout, "gelu", batch_first=True)
            for _ in range(config.layers)
        )
        self.sample_rate, self.hop, self.layers, self.dim = SAMPLE_RATE, self.convolutions.hop, config.layers + 1, config.width

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch."""
        states, frames = self.states(waves, lengths)
        return Features(torch.stack(states) * kept(frames, states[0].shape[1])[..., None], frames)

    def prepare(self, waves: Sequence[Tensor], seed: int, teacher: Upstream | None) -> None:
        """Stores the teacher, and adds a head for each predicted state."""
        if teacher is None:
            raise CommandError(
                "distil needs a teacher. Name any upstream: --teacher apc@apc.safetensors, or --teacher torchaudio/HUBERT_BASE."
            )
        object.__setattr__(self, "teacher", teacher)  # avoids nn.Module's __setattr__, which would make it a submodule
        width = self.config.width
        self.scaffold = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, teacher.dim))
            for _ in self.chosen(teacher.layers)
        )
        if isinstance(teacher, nn.Module):
            self._start_from(teacher.state_dict())

    def _start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Copies each part that the weights contain completely and in the same sizes."""
        blocks = [f"blocks.{layer}" for layer in range(self.config.layers)]
        for name in ["convolutions", "project", "positions", "norm", *blocks]:
            part = self.get_submodule(name)
            parameters = {f"{name}.{key}": value for key, value in part.state_dict().items()}
            if all(key in weights and weights[key].shape == value.shape for key, value in parameters.items()):
                part.load_state_dict({key.removeprefix(f"{name}."): weights[key] for key in parameters})

    def chosen(self, states: int) -> list[int]:
        """Returns the indices of the predicted teacher states: `predicted` at equal distances, or all if there are fewer.

        >>> Distil(Distil.configs["mini"]).chosen(13), Distil(Distil.configs["mini"]).chosen(3)
        ([4, 8, 12], [1, 2])
        """
        heads = self.config.predicted
        return sorted({round(head * (states - 1) / heads) for head in range(1, heads + 1)})

    def loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Computes the mean over frames and states of L1 and negative log-sigmoid of the cosine (the paper's equation 1)."""
        states, frames = self.states(waves, lengths)
        goals, frames = self.goals(waves, lengths, frames)
        hidden = states[-1][:, : goals.shape[2]]
        inside = kept(frames, hidden.shape[1])
        losses = []
        for head, goal in zip(self.scaffold, goals, strict=True):
            predicted = head(hidden).float()
            distance = (predicted - goal).abs().mean(-1)
            similarity = nn.functional.logsigmoid(nn.functional.cosine_similarity(predicted, goal, dim=-1))
            losses.append(((distance - self.config.cosine * similarity) * inside).sum() / inside.sum().clamp(min=1))
        return torch.stack(losses).mean()

    def states(self, waves: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns the hidden states, and the number of frames of each utterance."""
        local, frames = self.convolutions(waves, lengths)
        inside = kept(frames, local.shape[1])
        hidden = self.project(local) * inside[..., None]
        states = [hidden]
        hidden = self.dropout(self.norm(hidden + self.positions(hidden)))
        for block in self.blocks:
            hidden = block(hidden, src_key_padding_mask=~inside)
            states.append(hidden)
        return states, frames

    @torch.no_grad()
    def goals(self, waves: Tensor, lengths: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the teacher's chosen states (state, batch, time, dim) at the student's frames, and the numbers of frames."""
        taught = self.teacher(waves, lengths)
        chosen = taught.frames[self.chosen(self.teacher.layers)].float()
        samples = taught.lengths.to(frames.device) * self.teacher.hop
        frames = torch.minimum(frames, torch.div(samples + self.hop - 1, self.hop, rounding_mode="floor"))
        time = torch.arange(int(frames.max()), device=frames.device) * self.hop // self.teacher.hop
        return chosen[:, :, time.clamp(max=chosen.shape[2] - 1)], frames
