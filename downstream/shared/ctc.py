"""Heads that output text: a network over frames, trained by connectionist temporal classification (PR, ASR, SF).

Paper: Graves, Fernández, Gomez, Schmidhuber, "Connectionist temporal classification" (ICML 2006).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from downstream.shared.text import Alphabet, spelled

BLANK = 0


class FrameLinear(nn.Module):
    """Linear(dim, 256) → Linear(256, outputs) at every frame, without activation (PR).

    Two linear maps are one linear map: the two matrices are multiplied once for each batch, and the frames with their product.
    This takes a third of the operations. The two matrices remain the trained weights; gradients are the same up to rounding.
    """

    def __init__(self, dim: int, outputs: int, projector: int = 256) -> None:
        super().__init__()
        self.projector = nn.Linear(dim, projector)
        self.output = nn.Linear(projector, outputs)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Maps (batch, time, dim) → (batch, time, outputs)."""
        weight = self.output.weight @ self.projector.weight
        return F.linear(features, weight, F.linear(self.projector.bias, self.output.weight, self.output.bias))


class Blstm(nn.Module):
    """One bidirectional LSTM layer over padded sequences, (batch, time, dim) → (batch, time, 2 × width).

    The backward direction reads each sequence reversed within its own length, so valid frames equal those of a packed
    `nn.LSTM(bidirectional=True)` with the same weights; on a CPU this takes a third of the time. Outputs at padding are
    undefined.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(dim, width, batch_first=True)
        self.back = nn.LSTM(dim, width, batch_first=True)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Returns both directions, concatenated."""
        order = reversal(lengths, features.shape[1])
        back, _ = self.back(_reordered(features, order))
        return torch.cat([self.ahead(features)[0], _reordered(back, order)], dim=-1)


def reversal(lengths: Tensor, time: int) -> Tensor:
    """Returns frame numbers (batch, time) that reverse each sequence and leave its padding in place.

    >>> reversal(torch.tensor([3, 2]), 3).tolist()
    [[2, 1, 0], [1, 0, 2]]
    """
    position = torch.arange(time, device=lengths.device)
    return torch.where(position < lengths[:, None], lengths[:, None] - 1 - position, position)


def _reordered(frames: Tensor, order: Tensor) -> Tensor:
    """Reorders complete frames by copying, forward and backward, which takes a fifteenth of the time of `gather`."""
    batch, time = order.shape
    first = torch.arange(batch, device=order.device)[:, None] * time
    return frames.flatten(0, 1).index_select(0, (first + order).flatten()).view(frames.shape)


class BlstmStack(nn.Module):
    """[augment] → Linear(dim, projector) → 2 × [BLSTM → dropout] → Linear(2 × width, outputs) (ASR, SF).

    `augment` (SpecAug) changes the features in training mode only, and before the projector.
    """

    def __init__(self, dim: int, outputs: int, augment: nn.Module, width: int = 1024, dropout: float = 0.2) -> None:
        super().__init__()
        self.augment = augment
        self.projector = nn.Linear(dim, width)
        self.recurrent = nn.ModuleList([Blstm(width, width), Blstm(2 * width, width)])
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * width, outputs)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Maps (batch, time, dim) → (batch, time, outputs)."""
        hidden = self.projector(self.augment(features, lengths))
        for layer in self.recurrent:
            hidden = self.dropout(layer(hidden, lengths))
        return self.output(hidden)


class CtcHead(nn.Module):
    """A network with an alphabet: the head of PR, ASR and SF.

    `search`, if there is one, decodes log-probabilities (time, symbols) to text in a second way (ASR, with a language model).
    """

    def __init__(self, network: nn.Module, alphabet: Alphabet, search: Callable[[Tensor], str] | None = None) -> None:
        super().__init__()
        self.network, self.alphabet, self.search = network, alphabet, search

    def encode(self, label: Any) -> Tensor:
        """Returns the indices of the target, int64 (tokens)."""
        return torch.tensor(self.alphabet.encode(label))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Maps (batch, time, dim) → logits (batch, time, symbols)."""
        return self.network(features, lengths)

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """Computes CTC: the loss of each utterance over its target length, averaged.

        An utterance too short for its target counts 0.
        """
        rows = outputs.float().log_softmax(-1).transpose(0, 1)  # (time, batch, symbols)
        sizes = torch.tensor([len(target) for target in targets], device=outputs.device)
        return F.ctc_loss(rows, torch.cat(list(targets)), lengths, sizes, blank=BLANK, zero_infinity=True)

    def decode(self, outputs: Tensor, lengths: Tensor) -> list[str]:
        """Decodes greedily: the best symbol of each valid frame, repeats merged, silent symbols dropped, as text."""
        best = outputs.argmax(-1).cpu()
        return [
            spelled(self.alphabet, torch.unique_consecutive(row[:length]).tolist())
            for row, length in zip(best, lengths.tolist(), strict=True)
        ]

    def decode_also(self, outputs: Tensor, lengths: Tensor) -> list[dict[str, str]]:
        """Returns the text that the search decodes, as `lm`; empty records without a search."""
        if self.search is None:
            return [{} for _ in lengths]
        rows = outputs.float().log_softmax(-1)
        return [{"lm": self.search(row[:length])} for row, length in zip(rows, lengths.tolist(), strict=True)]
