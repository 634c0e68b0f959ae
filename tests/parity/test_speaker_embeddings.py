"""ASV: x-vector, pooling, AM-softmax.

References: `s3prl.downstream.sv_voxceleb1.model` (the recipe of the published numbers) and `s3prl.nn` (`SuperbXvector`,
`amsoftmax`), its later re-statement. The former pools one frame of padding with every utterance that is not the longest of its
batch; ours and the latter do not. The former's `DownstreamExpert` moves data to a GPU, so its parts are put together here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from downstream.speaker_verification import XVector

Reference = Callable[[str], Any]
DIM, SPEAKERS = 12, ("id3", "id1", "id2", "id5", "id4")
WIDTH, POOLED = 512, 40
"""`s3prl.nn` has the TDNN's inner width fixed at 512."""


def ours() -> XVector:
    return XVector(DIM, sorted(SPEAKERS), width=WIDTH, pooled=POOLED, embedding=WIDTH)


def copy_tdnn(mine: XVector, kernels: list[nn.Linear]) -> None:
    """A convolution's weight (out, in, context) as their linear map of context × in."""
    for convolution, kernel in zip(mine.tdnn, kernels, strict=True):
        kernel.weight.data = convolution.weight.data.permute(0, 2, 1).reshape(kernel.weight.shape).clone()
        kernel.bias.data = convolution.bias.data.clone()


class Published(nn.Module):
    """The parts of the recipe as its `DownstreamExpert.forward` puts them together."""

    def __init__(self, reference: Reference, mine: XVector) -> None:
        super().__init__()
        module = reference("downstream.sv_voxceleb1.model")
        self.connector = nn.Linear(DIM, WIDTH)
        hparams = {"agg_dim": POOLED, "dropout_p": 0.0, "batch_norm": False}
        self.model = module.Model(WIDTH, POOLED, "SP", "XVector", "UtteranceExtractor", hparams)
        self.objective = module.AMSoftmaxLoss(WIDTH, len(SPEAKERS), s=30.0, m=0.4)
        self.connector.load_state_dict(mine.connector.state_dict())
        copy_tdnn(mine, [layer.kernel for layer in self.model.framelevel_feature_extractor.module])
        self.model.utterancelevel_feature_extractor.linear1.load_state_dict(mine.embedding.state_dict())
        self.model.utterancelevel_feature_extractor.linear2.load_state_dict(mine.training_layer.state_dict())
        self.objective.W.data = mine.classes.data.clone()

    def inputs(self, utterances: list[Tensor]) -> tuple[Tensor, Tensor]:
        mask = nn.utils.rnn.pad_sequence([torch.ones(len(one) - 14) for one in utterances], batch_first=True)
        padded = nn.utils.rnn.pad_sequence(utterances, batch_first=True)
        return self.connector(padded), (1.0 - mask) * -100000.0

    def embeddings(self, utterances: list[Tensor]) -> Tensor:
        return self.model.inference(*self.inputs(utterances))

    def loss(self, utterances: list[Tensor], speakers: Tensor) -> Tensor:
        return self.objective(self.model(*self.inputs(utterances)), speakers)


def restated(reference: Reference, mine: XVector) -> nn.Module:
    theirs = reference("nn.speaker_model").SuperbXvector(DIM, WIDTH, WIDTH, POOLED)
    theirs.projector.load_state_dict(mine.connector.state_dict())
    copy_tdnn(mine, [layer.kernel for layer in theirs.tdnns.module])
    theirs.affine.linear1.load_state_dict(mine.embedding.state_dict())
    theirs.affine.linear2.load_state_dict(mine.training_layer.state_dict())
    return theirs


def padded(utterances: list[Tensor]) -> tuple[Tensor, Tensor]:
    return nn.utils.rnn.pad_sequence(utterances, batch_first=True), torch.tensor([len(one) for one in utterances])


LABELS = ("id2", "id5", "id1")


def targets(mine: XVector) -> list[Tensor]:
    return [mine.encode(label) for label in LABELS]


def pairs(mine: XVector, theirs: Published) -> list[tuple[Tensor, Tensor]]:
    kernels = [layer.kernel for layer in theirs.model.framelevel_feature_extractor.module]
    last = theirs.model.utterancelevel_feature_extractor
    found = [(mine.classes.grad, theirs.objective.W.grad)]
    for own, other in ((mine.connector, theirs.connector), (mine.embedding, last.linear1), (mine.training_layer, last.linear2)):
        found += [(own.weight.grad, other.weight.grad), (own.bias.grad, other.bias.grad)]
    for own, other in zip(mine.tdnn, kernels, strict=True):
        found += [(own.weight.grad.permute(0, 2, 1).flatten(1), other.weight.grad), (own.bias.grad, other.bias.grad)]
    return found


def test_embeddings_losses_and_gradients_of_equal_lengths_are_those_of_the_published_recipe(reference: Reference) -> None:
    mine = ours()
    theirs, utterances = Published(reference, mine), [torch.randn(45, DIM) for _ in LABELS]
    features, lengths = padded(utterances)
    outputs = mine(features, lengths)
    torch.testing.assert_close(outputs, theirs.embeddings(utterances), rtol=1e-5, atol=1e-6)
    loss, own = theirs.loss(utterances, torch.stack(targets(mine))), mine.loss(outputs, lengths, targets(mine))
    torch.testing.assert_close(own, loss, rtol=1e-5, atol=0)
    loss.backward()
    own.backward()
    for one, other in pairs(mine, theirs):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_units_that_are_silent_have_the_same_gradients_none_of_them_nan(reference: Reference) -> None:
    mine = ours()
    mine.tdnn[4].bias.data[:7] = -1e3  # ReLU gives 0 at every frame: no deviation
    theirs, utterances = Published(reference, mine), [torch.randn(30, DIM) for _ in LABELS]
    features, lengths = padded(utterances)
    loss = theirs.loss(utterances, torch.stack(targets(mine)))
    own = mine.loss(mine(features, lengths), lengths, targets(mine))
    loss.backward()
    own.backward()
    for one, other in pairs(mine, theirs):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_padded_embeddings_are_those_of_the_later_statement(reference: Reference) -> None:
    mine = ours()
    theirs = restated(reference, mine).eval()
    features, lengths = padded([torch.randn(length, DIM) for length in (60, 45, 17)])
    torch.testing.assert_close(mine(features, lengths), theirs(features, lengths), rtol=1e-5, atol=1e-6)


def test_the_published_recipe_pools_a_frame_of_padding_and_that_moves_embeddings_by_a_little(reference: Reference) -> None:
    """Deliberately different, as the later statement: an utterance's embedding is its own."""
    mine = ours()
    theirs, utterances = Published(reference, mine), [torch.randn(length, DIM) for length in (400, 300, 200)]
    features, lengths = padded(utterances)
    alone = torch.cat([theirs.embeddings([one]) for one in utterances])
    torch.testing.assert_close(mine(features, lengths), alone, rtol=1e-5, atol=1e-6)
    together = theirs.embeddings(utterances)
    off = ((together - alone).norm(dim=1) / alone.norm(dim=1)).tolist()
    assert off[0] < 1e-6
    assert all(1e-5 < one < 0.02 for one in off[1:])


@pytest.mark.parametrize("spread", [1.0, 1e-4, 30.0])
def test_am_softmax_is_that_of_both(reference: Reference, spread: float) -> None:
    mine = ours()
    embeddings, speakers = spread * torch.randn(6, WIDTH), torch.tensor([0, 4, 2, 2, 1, 0])
    published = reference("downstream.sv_voxceleb1.model").AMSoftmaxLoss(WIDTH, len(SPEAKERS), s=30.0, m=0.4)
    later = reference("nn.speaker_loss").amsoftmax(WIDTH, len(SPEAKERS), margin=0.4, scale=30.0)
    published.W.data = later.W.data = mine.classes.data
    mine.training_layer.forward = lambda inputs: inputs
    loss = mine.loss(embeddings, torch.ones(6), list(speakers))
    torch.testing.assert_close(loss, published(embeddings.relu(), speakers), rtol=1e-5, atol=0)
    torch.testing.assert_close(loss, later(embeddings.relu(), speakers)[0], rtol=1e-5, atol=0)


def test_classes_are_the_sorted_names_of_speakers() -> None:
    mine = ours()
    assert [int(mine.encode(name)) for name in sorted(SPEAKERS)] == list(range(len(SPEAKERS)))
