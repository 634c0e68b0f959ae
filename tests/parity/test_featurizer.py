"""The mix of layers and the number of frames: `s3prl.upstream.interfaces.Featurizer`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from superbench.contract import Audio, Features
from superbench.errors import BadUpstream
from superbench.features.forward import forward
from superbench.plugins import Loaded, Spec
from superbench.training.probes.probe import Probe

Reference = Callable[[str], Any]
LAYERS, DIM = 4, 6


class Ramp(nn.Module):
    """An upstream for both: sample sums of every hop, in `LAYERS` scales; the frames of a wave are given by `count`."""

    def __init__(self, hop: int, count: Callable[[int], int]) -> None:
        super().__init__()
        self.hop, self.count = hop, count

    def states(self, waves: Tensor) -> Tensor:
        """(layer, batch, time, dim)"""
        frames = self.count(waves.shape[1])
        wide = nn.functional.pad(waves, (0, frames * self.hop))[:, : frames * self.hop]
        sums = wide.view(len(waves), frames, self.hop).sum(-1)
        scales = torch.arange(1.0, LAYERS * DIM + 1).view(LAYERS, 1, 1, DIM)
        return torch.sin(sums[None, :, :, None] * scales)


class Theirs(Ramp):
    def forward(self, waves: list[Tensor]) -> dict[str, list[Tensor]]:
        return {"hidden_states": list(self.states(nn.utils.rnn.pad_sequence(waves, batch_first=True)))}

    def get_downsample_rates(self, key: str) -> int:
        return self.hop


class Ours(Ramp):
    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        return Features(self.states(waves), torch.tensor([self.count(n) for n in lengths.tolist()]))


def ceiling(hop: int) -> Callable[[int], int]:
    return lambda samples: -(-samples // hop)


def convolutional(samples: int) -> int:
    """Frames of the front end of wav2vec 2.0: a window of 400 samples every 320."""
    return (samples - 400) // 320 + 1


def featurizer(reference: Reference, hop: int, count: Callable[[int], int]) -> tuple[nn.Module, Theirs]:
    upstream = Theirs(hop, count)
    return reference("upstream.interfaces").Featurizer(upstream, upstream_device="cpu"), upstream


def extracted(waves: list[Tensor], hop: int, count: Callable[[int], int]) -> list[Tensor]:
    """Our stored frames of a batch, (time, layer, dim) each."""
    loaded = Loaded("ramp", Spec("ramp", "ramp", None, "ramp", (), None), Ours(hop, count), "", 0, hop, LAYERS, DIM)
    return forward(loaded, waves, [Audio(Path("none.wav"))] * len(waves), "frames", "cpu")


def test_the_mix_has_the_same_values_and_gradients(reference: Reference) -> None:
    theirs, _ = featurizer(reference, 320, ceiling(320))
    ours = Probe(nn.Identity(), LAYERS)
    assert torch.equal(ours.weights, theirs.weights)
    assert ours.weights is not None
    start = torch.randn(LAYERS)
    ours.weights.data, theirs.weights.data = start.clone(), start.clone()
    states = torch.randn(LAYERS, 2, 9, DIM)
    mixed = theirs._weighted_sum(list(states))
    ours.head.forward = lambda features, lengths: features
    mine = ours(states.permute(1, 2, 0, 3), torch.tensor([9, 9]))
    torch.testing.assert_close(mine, mixed, rtol=1e-5, atol=1e-6)
    towards = torch.randn_like(mixed)
    (mine * towards).sum().backward()
    (mixed * towards).sum().backward()
    torch.testing.assert_close(ours.weights.grad, theirs.weights.grad, rtol=1e-5, atol=1e-6)


def test_one_layer_has_no_weights_in_either(reference: Reference) -> None:
    upstream = Theirs(320, ceiling(320))
    theirs = reference("upstream.interfaces").Featurizer(upstream, upstream_device="cpu", layer_selection=2)
    assert [*theirs.parameters(), *Probe(nn.Identity(), 1).parameters()] == []


AWKWARD = (320, 480, 481, 800, 1_119, 1_120, 1_121, 1_440, 4_959, 4_960, 16_000, 16_160)
"""Samples; at a hop of 320, several lie just between two numbers of frames, where `round` goes to the even one."""


@pytest.mark.parametrize("hop", [160, 320])
@pytest.mark.parametrize("samples", AWKWARD)
def test_an_utterance_keeps_the_same_frames(reference: Reference, hop: int, samples: int) -> None:
    theirs, upstream = featurizer(reference, hop, ceiling(hop))
    wave = torch.randn(samples)
    (mixed,) = theirs([wave], upstream([wave]))
    (stored,) = extracted([wave], hop, ceiling(hop))
    assert len(stored) == len(mixed) == round(samples / hop)
    torch.testing.assert_close(stored.float().mean(1), mixed, rtol=1e-3, atol=1e-3)  # stored in half precision


def test_a_batch_keeps_the_same_frames_where_the_model_has_them_all(reference: Reference) -> None:
    theirs, upstream = featurizer(reference, 320, ceiling(320))
    waves = [torch.randn(samples) for samples in AWKWARD[-4:]]
    counts = [len(one) for one in theirs(waves, upstream(waves))]
    assert [len(one) for one in extracted(waves, 320, ceiling(320))] == counts


def test_alone_a_convolutional_model_has_the_same_frames_and_padded_theirs_has_one_of_padding_more(
    reference: Reference,
) -> None:
    """Deliberately different: `round(n / 320)` is one more than such a model makes of most utterances alone; beside a longer
    one the source takes that frame from the padding, so its features depend on batch mates. Ours ends with the model's own."""
    theirs, upstream = featurizer(reference, 320, convolutional)
    waves = [torch.randn(samples) for samples in (48_000, 16_000, 16_190)]
    alone = [len(theirs([wave], upstream([wave]))[0]) for wave in waves]
    padded = [len(one) for one in theirs(waves, upstream(waves))]
    assert [len(one) for one in extracted(waves, 320, convolutional)] == alone == [149, 49, 50]
    assert padded == [149, 50, 51]


def test_five_frames_too_many_or_too_few_are_an_error_in_both(reference: Reference) -> None:
    wave = torch.randn(16_000)
    for off, fits in ((4, True), (-4, True), (5, False), (-5, False)):

        def count(samples: int, off: int = off) -> int:
            return samples // 320 + off

        theirs, upstream = featurizer(reference, 320, count)
        if fits:
            assert len(extracted([wave], 320, count)[0]) == len(theirs([wave], upstream([wave]))[0])
            continue
        with pytest.raises(AssertionError):
            theirs([wave], upstream([wave]))
        with pytest.raises(BadUpstream):
            extracted([wave], 320, count)
