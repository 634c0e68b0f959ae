"""Speech GPT: cached keys and values change no output, and likelihoods of continuations equal those of one pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from superbench import CommandError
from superbench.contract import Continuing
from superbench.plugins.checkpoints import fresh_model
from upstream.shared.remembered import advanced, repeated
from upstream.speech_gpt import SpeechGpt, common_beginning


@pytest.fixture(scope="module")
def gpt() -> Any:
    """A small model with random weights whose units were fitted to noise."""
    torch.manual_seed(3)
    model: Any = fresh_model(SpeechGpt, "mini", 3).eval().requires_grad_(False)
    model.prepare([sound(n, 40_000) for n in range(3)], 0, None)
    return model


def sound(seed: int, samples: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    wave = torch.randn(samples, generator=draw)
    return 0.1 * torch.nn.functional.avg_pool1d(wave[None], 1 + seed % 5, 1, ceil_mode=True)[0][:samples]


def plain(model: Any, prompt: list[Tensor], continuation: list[Tensor]) -> float:
    """Σ log p of the continuation's units by one pass over everything."""
    before, after = (torch.cat([model.heard(part[None], torch.tensor([len(part)]))[0][0] for part in parts])
                     for parts in (prompt, continuation))  # fmt: skip
    units = torch.cat([before, after])
    logits = model.predict(model.states(units[None, :-1])[-1])[0].log_softmax(-1)
    return float(logits[torch.arange(len(before), len(units)), after].sum())


def test_steps_with_cached_keys_and_values_equal_one_pass_over_the_layers() -> None:
    torch.manual_seed(0)
    layers = [nn.TransformerEncoderLayer(32, 4, 64, 0.1, "gelu", batch_first=True, norm_first=True) for _ in range(3)]
    blocks = nn.ModuleList(layers).eval().requires_grad_(False)
    x = torch.randn(2, 17, 32)
    expected, mask = x, nn.Transformer.generate_square_subsequent_mask(17)
    for block in blocks:
        expected = block(expected, src_mask=mask, is_causal=True)
    first, memory = advanced(blocks, x[:, :9])
    second, memory = advanced(blocks, x[:, 9:10], memory)
    third, _ = advanced(blocks, x[:, 10:], memory)
    torch.testing.assert_close(torch.cat([first, second, third], 1), expected, atol=1e-5, rtol=0)
    _, memory_of_one = advanced(blocks, x[:1, :9])
    outputs_of_four = advanced(blocks, x[:1, 9:].expand(4, -1, -1), repeated(memory_of_one, 4))[0]
    torch.testing.assert_close(outputs_of_four[3], expected[0, 9:], atol=1e-5, rtol=0)


@pytest.mark.slow
def test_likelihoods_equal_one_pass_for_each_candidate(gpt: Any) -> None:
    assert isinstance(gpt, Continuing)
    examples = [sound(1, 9_000), sound(2, 12_000)]
    prompts = [[*examples, sound(n, 8_000 + 1_000 * n)] for n in (4, 5)] + [[sound(1, 9_000)]]
    continuations = [[[sound(6, 4_000)], [sound(7, 9_100)], [sound(8, 500), sound(9, 6_000)]]] * 3
    for prompt, following, likelihoods in zip(prompts, continuations, gpt.log_likelihood(prompts, continuations), strict=True):
        for parts, likelihood in zip(following, likelihoods, strict=True):
            assert likelihood.value == pytest.approx(plain(gpt, prompt, parts), rel=1e-5)
            assert (
                likelihood.tokens
                == likelihood.characters
                == sum(gpt.heard(p[None], torch.tensor([len(p)]))[0].shape[1] for p in parts)
            )


def test_a_likelihood_does_not_depend_on_the_other_candidates(gpt: Any) -> None:
    prompt, candidates = [sound(1, 9_000)], [[sound(6, 4_000)], [sound(7, 19_100)]]
    together = gpt.log_likelihood([prompt], [candidates])[0]
    alone = [gpt.log_likelihood([prompt], [[candidate]])[0][0] for candidate in candidates]
    assert [likelihood.value for likelihood in together] == pytest.approx([likelihood.value for likelihood in alone], rel=1e-5)


def test_with_an_empty_prompt_the_likelihood_is_that_of_the_sound_alone(gpt: Any) -> None:
    sounds = [sound(6, 4_000), sound(7, 9_100)]
    likelihoods = gpt.log_likelihood([[], [sound(1, 3_000)]], [[[wave] for wave in sounds]] * 2)
    for wave, alone, after in zip(sounds, *likelihoods, strict=True):
        loss = float(gpt.loss(wave[None], torch.tensor([len(wave)])))
        assert -alone.value / alone.tokens == pytest.approx(loss, rel=1e-5)
        assert alone.value != after.value


def test_a_text_in_a_prompt_is_refused(gpt: Any) -> None:
    with pytest.raises(CommandError, match="speech_gpt reads no text, found 'yes'"):
        gpt.log_likelihood([["yes", sound(1, 4_000)]], [[[sound(1, 4_000)]]])


def test_generated_units_are_those_drawn_without_a_cache(gpt: Any) -> None:
    prompt = sound(1, 16_000)
    torch.manual_seed(5)
    generated, _ = gpt.generate(prompt, 0.4, 1.0, lambda done, total: None)
    torch.manual_seed(5)
    units = gpt.heard(prompt[None], torch.tensor([len(prompt)]))[0]
    prompt_units = units.shape[1]
    for _ in range(20):
        units = torch.cat([units, torch.multinomial(gpt.predict(gpt.states(units)[-1][:, -1]).softmax(-1), 1)], 1)
    torch.testing.assert_close(generated[-19 * gpt.hop :], gpt.spoken(units[0, prompt_units - 1 :])[gpt.hop :][-19 * gpt.hop :])


def test_the_common_prefix_leaves_a_token_of_every_prompt() -> None:
    rows = [torch.tensor(row) for row in ([9, 1, 2, 3], [9, 1, 2], [9, 1, 5, 3, 3])]
    assert common_beginning(rows) == 2
    assert common_beginning([rows[0], rows[0]]) == 3
    assert common_beginning([torch.tensor([9])]) == 0
