"""PR, ASR and SF: networks over frames, their loss and what they write.

Reference: `s3prl.downstream.ctc.expert`, `s3prl.downstream.asr.expert` with `FrameLevel` and `RNNs` (packed sequences). The
reference writes down padding too when several utterances share a batch, which it never does in evaluation: outputs are
compared one utterance at a time, losses and gradients in padded batches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from downstream.shared.ctc import BlstmStack, CtcHead, FrameLinear
from downstream.shared.snips import SLOTS
from downstream.shared.specaug import SpecAug
from downstream.shared.text import CHARACTERS, LETTERS_BY_FREQUENCY, PHONES, LetterAlphabet, PhoneAlphabet, SlotAlphabet

Reference = Callable[[str], Any]
Bare = Callable[..., nn.Module]
DIM, WIDTH, LENGTHS = 10, 16, (40, 23, 31)
PHONE_LABELS = ["HH AH0 L OW1", "W ER1 L D", "AE1 T"]
WORD_LABELS = ["HELLO WORLD", "IT'S", "A B C"]
SLOT_LABELS = [
    (("SET", "O"), ("A", "O"), ("BEDROOM", "facility"), ("ALARM", "O")),
    (("BLUE", "artist"), ("&", "artist"), ("RED", "album")),
    (("IN", "O"), ("ROME", "city"), (".", "city")),
]


def frames() -> list[Tensor]:
    return [torch.randn(length, DIM) for length in LENGTHS]


def padded(utterances: list[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(one) for one in utterances])
    return nn.utils.rnn.pad_sequence(utterances, batch_first=True), lengths


def rnns(reference: Reference, outputs: int) -> nn.Module:
    """The recipes' `modelrc.RNNs` (protocol.md 2.2), narrower."""
    return reference("downstream.asr.model").RNNs(
        WIDTH, outputs, 320, module="LSTM", bidirection=True, dim=[WIDTH, WIDTH], dropout=[0.2, 0.2],
        layer_norm=[False, False], proj=[False, False], sample_rate=[1, 1], sample_style="concat", total_rate=-1,
    )  # fmt: skip


def recurrent_pairs(ours: BlstmStack, theirs: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Our parameters with theirs, in one order."""
    pairs = [*zip(ours.projector.parameters(), theirs.projector.parameters(), strict=True)]
    pairs += zip(ours.output.parameters(), theirs.model.linear.parameters(), strict=True)
    for mine, other in zip(ours.recurrent, theirs.model.rnns, strict=True):
        both = dict(other.layer.named_parameters())
        pairs += [(weight, both[name]) for name, weight in mine.ahead.named_parameters()]
        pairs += [(weight, both[f"{name}_reverse"]) for name, weight in mine.back.named_parameters()]
    return pairs


def linear_pairs(ours: FrameLinear, theirs: nn.Module) -> list[tuple[Tensor, Tensor]]:
    pairs = ((ours.projector, theirs.projector), (ours.output, theirs.model.linear))
    return [pair for mine, other in pairs for pair in zip(mine.parameters(), other.parameters(), strict=True)]


def phones(reference: Reference, bare: Bare) -> tuple[CtcHead, nn.Module, list[tuple[Tensor, Tensor]]]:
    text, expert = reference("downstream.ctc.text"), reference("downstream.ctc.expert").DownstreamExpert
    ours = CtcHead(FrameLinear(DIM, 74), PhoneAlphabet())
    theirs = bare(
        expert,
        projector=nn.Linear(DIM, 256),
        model=reference("downstream.model").FrameLevel(256, 74),
        tokenizer=text.WordTextEncoder(list(PHONES)),
        objective=nn.CTCLoss(blank=0, zero_infinity=True),
    )
    return ours, theirs, linear_pairs(ours.network, theirs)


def slots(reference: Reference, bare: Bare) -> tuple[CtcHead, nn.Module, list[tuple[Tensor, Tensor]]]:
    text, expert = reference("downstream.ctc.text"), reference("downstream.ctc.expert").DownstreamExpert
    tags = [f"{edge}-{slot}" for slot in SLOTS for edge in "BE"]
    ours = CtcHead(BlstmStack(DIM, 109, nn.Module(), WIDTH), SlotAlphabet(SLOTS))
    theirs = bare(
        expert,
        projector=nn.Linear(DIM, WIDTH),
        model=rnns(reference, 109),
        tokenizer=text.CharacterTextSlotEncoder(list(CHARACTERS), tags),
        objective=nn.CTCLoss(blank=0, zero_infinity=True),
    )
    return ours, theirs, recurrent_pairs(ours.network, theirs)


def letters(reference: Reference, bare: Bare, folder: Path) -> tuple[CtcHead, nn.Module, list[tuple[Tensor, Tensor]]]:
    (folder / "char.dict").write_text("".join(f"{letter} 1\n" for letter in LETTERS_BY_FREQUENCY))
    dictionary = reference("downstream.asr.dictionary").Dictionary.load(str(folder / "char.dict"))
    ours = CtcHead(BlstmStack(DIM, 32, nn.Module(), WIDTH), LetterAlphabet())
    theirs = bare(
        reference("downstream.asr.expert").DownstreamExpert,
        projector=nn.Linear(DIM, WIDTH),
        model=rnns(reference, 32),
        dictionary=dictionary,
        blank=dictionary.bos(),
        decoder=None,
        objective=nn.CTCLoss(blank=dictionary.bos(), zero_infinity=True),
    )
    return ours, theirs, recurrent_pairs(ours.network, theirs)


def unaugmented(ours: CtcHead) -> None:
    """SpecAug is compared by itself."""
    if isinstance(ours.network, BlstmStack):
        ours.network.augment.forward = lambda features, lengths: features


def built(
    task: str, reference: Reference, bare: Bare, folder: Path
) -> tuple[CtcHead, nn.Module, list[tuple[Tensor, Tensor]], list[Any]]:
    if task == "pr":
        return *phones(reference, bare), PHONE_LABELS
    if task == "sf":
        return *slots(reference, bare), SLOT_LABELS
    return *letters(reference, bare, folder), WORD_LABELS


@pytest.fixture(params=["pr", "asr", "sf"])
def pair(
    request: pytest.FixtureRequest, reference: Reference, bare: Bare, tmp_path: Path
) -> tuple[CtcHead, nn.Module, list[tuple[Tensor, Tensor]], list[Any]]:
    """Our head and theirs with the same weights, these weights side by side, and labels."""
    ours, theirs, pairs, labels = built(request.param, reference, bare, tmp_path)
    for mine, other in pairs:
        other.data = mine.data.clone()
    assert sum(p.numel() for p in ours.parameters()) == sum(mine.numel() for mine, _ in pairs)
    unaugmented(ours)
    return ours, theirs, pairs, labels


def test_losses_and_gradients_are_the_same_in_training(pair: tuple[CtcHead, nn.Module, list, list]) -> None:
    ours, theirs, pairs, labels = pair
    utterances, targets = frames(), [ours.encode(label) for label in labels]
    torch.manual_seed(3)  # dropout draws the same
    loss = theirs.train()("train", utterances, [target.numpy() for target in targets], list("abc"), defaultdict(list))
    torch.manual_seed(3)
    features, lengths = padded(utterances)
    mine = ours.train().loss(ours(features, lengths), lengths, targets)
    torch.testing.assert_close(mine, loss, rtol=1e-5, atol=0)
    loss.backward()
    mine.backward()
    for own, other in pairs:
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-5, atol=1e-5 * float(other.grad.abs().max()))


def test_an_utterance_too_short_for_its_target_counts_nothing_in_either(pair: tuple[CtcHead, nn.Module, list, list]) -> None:
    ours, theirs, _, labels = pair
    utterances = [torch.randn(3, DIM), torch.randn(60, DIM)]
    targets = [ours.encode(label) for label in labels[:2]]
    loss = theirs.eval()("train", utterances, [target.numpy() for target in targets], ["a", "b"], defaultdict(list))
    features, lengths = padded(utterances)
    torch.testing.assert_close(ours.eval().loss(ours(features, lengths), lengths, targets), loss, rtol=1e-5, atol=0)


def written(theirs: nn.Module, records: dict[str, list]) -> list[str]:
    if "hypothesis" in records:
        return [" ".join(text.split()) for text in records["hypothesis"]]  # the metrics collapse spaces
    return [" ".join(words) for words in records["pred_words"]]


def test_greedy_writing_is_the_same(pair: tuple[CtcHead, nn.Module, list, list]) -> None:
    ours, theirs, pairs, labels = pair
    kinds = set()
    for seed in range(12):
        torch.manual_seed(seed)
        for own, other in pairs:  # sharp enough that all kinds of symbols occur
            own.data = 6 * torch.randn_like(own) / own.shape[-1] ** 0.5
            other.data = own.data.clone()
        features, records = torch.randn(80, DIM), defaultdict(list)
        theirs.eval()("dev-clean", [features], [ours.encode(labels[0]).numpy()], ["a"], records)
        lengths = torch.tensor([80])
        outputs = ours.eval()(features[None], lengths)
        kinds |= set(outputs.argmax(-1).flatten().tolist())
        assert ours.decode(outputs, lengths) == written(theirs, records)
    assert {0, 1, 2, 3} <= kinds
    assert len(kinds) > 20


def test_specaug_comes_before_the_projector_and_only_in_training() -> None:
    torch.manual_seed(1)
    stack, features, lengths = BlstmStack(64, 5, SpecAug(), WIDTH, dropout=0.0), torch.randn(2, 60, 64), torch.tensor([60, 50])
    torch.manual_seed(2)
    augmented = stack.augment.train()(features, lengths)
    torch.manual_seed(2)
    assert torch.equal(stack.train()(features, lengths), stack.eval()(augmented, lengths))
    assert not torch.equal(stack(features, lengths), stack(augmented, lengths))
