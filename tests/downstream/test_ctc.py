"""CTC heads: parameter counts, exactness of the BLSTM, loss and greedy decoding."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from downstream.shared.ctc import Blstm, BlstmStack, CtcHead, FrameLinear
from downstream.shared.specaug import SpecAug
from downstream.shared.text import PhoneAlphabet


class Letters:
    """Blank, a, b."""

    symbols: tuple[str, ...] = ("-", "a", "b")
    silent: frozenset[str] = frozenset("-")

    def encode(self, label: str) -> list[int]:
        return [self.symbols.index(letter) for letter in label]

    def text(self, symbols: list[str]) -> str:
        return "".join(symbols)


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_heads_have_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        assert size(FrameLinear(768, 74)) == 215_882
        assert size(BlstmStack(768, 32, SpecAug())) == 42_828_832
        assert size(BlstmStack(768, 109, SpecAug())) == 42_986_605


def packed(layer: Blstm, features: Tensor, lengths: Tensor) -> Tensor:
    """The same weights in PyTorch's own bidirectional LSTM on packed sequences."""
    both = nn.LSTM(features.shape[-1], layer.ahead.hidden_size, batch_first=True, bidirectional=True)
    weights = dict(layer.ahead.named_parameters()) | {f"{name}_reverse": w for name, w in layer.back.named_parameters()}
    both.load_state_dict(weights)
    rows = pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(both(rows)[0], batch_first=True)[0]


def test_the_blstm_equals_a_packed_one() -> None:
    torch.manual_seed(0)
    layer, features, lengths = Blstm(5, 7), torch.randn(3, 9, 5), torch.tensor([4, 9, 1])
    ours, expected = layer(features, lengths), packed(layer, features, lengths)
    for i, length in enumerate(lengths):
        torch.testing.assert_close(ours[i, :length], expected[i, :length], atol=1e-6, rtol=1e-5)


def test_outputs_and_gradients_of_the_stack_do_not_depend_on_padding() -> None:
    torch.manual_seed(0)
    stack = BlstmStack(4, 3, SpecAug(), width=6).eval()
    head, short = CtcHead(stack, Letters()), torch.randn(1, 6, 4)
    padded = torch.cat([short, 9 * torch.randn(1, 5, 4)], dim=1)
    gradients = []
    for features in (short, padded):
        stack.zero_grad()
        lengths = torch.tensor([6])
        outputs = head(features, lengths)
        head.loss(outputs, lengths, [torch.tensor([1, 2])]).backward()
        gradients.append([outputs[:, :6].detach(), *[parameter.grad.clone() for parameter in stack.parameters()]])
    for batched, alone in zip(*gradients, strict=True):
        torch.testing.assert_close(batched, alone, atol=1e-6, rtol=1e-4)


def test_loss_is_minus_the_log_of_all_paths_over_target_lengths() -> None:
    torch.manual_seed(0)
    head, lengths = CtcHead(nn.Identity(), Letters()), torch.tensor([4, 3])
    outputs, targets = torch.randn(2, 4, 3), [torch.tensor([1, 2]), torch.tensor([1])]
    expected = 0.0
    for row, length, target in zip(outputs.softmax(-1), lengths.tolist(), targets, strict=True):
        total = 0.0
        for path in itertools.product(range(3), repeat=length):
            merged = [token for token, _ in itertools.groupby(path) if token]
            if merged == target.tolist():
                total += float(torch.stack([row[t, token] for t, token in enumerate(path)]).prod())
        expected += -torch.tensor(total).log().item() / len(target) / 2
    assert float(head.loss(outputs, lengths, targets)) == pytest.approx(expected, rel=1e-5)


def test_an_utterance_too_short_for_its_target_has_no_loss() -> None:
    head, outputs = CtcHead(nn.Identity(), Letters()), torch.zeros(1, 1, 3, requires_grad=True)
    loss = head.loss(outputs, torch.tensor([1]), [torch.tensor([1, 2])])
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert outputs.grad is not None
    assert not outputs.grad.isnan().any()


def test_greedy_decoding_merges_repeats_drops_blanks_and_stops_at_the_length() -> None:
    best = torch.tensor([[1, 1, 0, 1, 2, 2, 0, 1], [0, 2, 1, 1, 2, 1, 1, 1]])
    outputs = torch.nn.functional.one_hot(best, 3).float()
    assert CtcHead(nn.Identity(), Letters()).decode(outputs, torch.tensor([7, 4])) == ["aab", "ba"]


def test_zero_frames_decode_to_an_empty_text() -> None:
    assert CtcHead(nn.Identity(), Letters()).decode(torch.zeros(1, 2, 3), torch.tensor([0])) == [""]


@pytest.mark.slow
def test_a_linear_head_learns_a_sentence() -> None:
    torch.manual_seed(0)
    head, label = CtcHead(FrameLinear(8, 74), PhoneAlphabet()), "HH AH0 L OW1"
    features, lengths, target = torch.randn(1, 12, 8), torch.tensor([12]), [head_target := PhoneAlphabet().encode(label)]
    assert head.encode(label).tolist() == head_target
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        head.loss(head(features, lengths), lengths, [torch.tensor(row) for row in target]).backward()
        optimizer.step()
    assert head.decode(head(features, lengths), lengths) == [label]
