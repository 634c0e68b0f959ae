"""Memory that cannot be allocated: a batch is halved, a single sound is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from superbench import Audio, BadUpstream, Features, plugins
from superbench.features.forward import forward

ERRORS = {
    "torch on a CPU": RuntimeError(
        "[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
    ),
    "torch on a GPU": torch.OutOfMemoryError("CUDA out of memory."),
    "numpy": MemoryError("Unable to allocate 9. GiB"),
}


class Greedy(nn.Module):
    """Has memory for so many samples in all."""

    sample_rate, hop, layers, dim = 16_000, 320, 1, 2

    def __init__(self, error: BaseException, samples: int) -> None:
        super().__init__()
        self.error, self.samples, self.calls = error, samples, []

    def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
        self.calls.append(len(waves))
        if waves.numel() > self.samples:
            raise self.error
        frames = waves.unfold(1, 320, 320).mean(-1, keepdim=True).repeat(1, 1, 2)
        return Features(frames[None], lengths // 320)


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_a_batch_that_does_not_fit_is_halved(error: BaseException) -> None:
    model = Greedy(error, 2 * 3200)
    loaded = plugins.loaded(plugins.parse("greedy"), model, "cpu")
    waves = [torch.full((3200,), float(number)) for number in range(4)]
    rows = forward(loaded, waves, [Audio(Path(f"{number}.wav")) for number in range(4)], "mean", "cpu")
    assert model.calls == [4, 2, 2]
    assert [float(row[0, 0, 0]) for row in rows] == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize(
    ("seconds", "advice"), [(40.0, "--chunk 30"), (30.0, "--chunk 15"), (1.5, "--chunk 1"), (0.2, "with more memory")]
)
def test_a_sound_that_does_not_fit_alone_is_named_with_a_chunk_that_divides_it(
    error: BaseException, seconds: float, advice: str
) -> None:
    loaded = plugins.loaded(plugins.parse("greedy"), Greedy(error, 100), "cpu")
    waves, audios = [torch.ones(round(seconds * 16_000))] * 2, [Audio(Path("long.wav")), Audio(Path("b.wav"))]
    with pytest.raises(BadUpstream, match=rf"long\.wav \({seconds} s\) alone\. .*{advice}\.$"):
        forward(loaded, waves, audios, "mean", "cpu")


def test_a_real_allocation_of_torch_is_recognised() -> None:
    from superbench.system.memory import is_out_of_memory

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_other_errors_of_a_model_are_its_own() -> None:
    loaded = plugins.loaded(plugins.parse("greedy"), Greedy(RuntimeError("shapes differ"), 100), "cpu")
    with pytest.raises(RuntimeError, match="shapes differ"):
        forward(loaded, [torch.ones(3200)], [Audio(Path("a.wav"))], "mean", "cpu")
