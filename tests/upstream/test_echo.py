"""Echo episodes: crops of sound, each followed by another view of it; pretraining on them is reproducible, and other families
refuse it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor

from superbench import CommandError, SuperbenchError, load_tensors, pretrain
from superbench.plugins.checkpoints import fresh_model
from superbench.system.progress import Silence
from superbench.system.seeding import seeded
from upstream.shared import echo
from upstream.speech_gpt import SpeechGpt


@pytest.fixture(scope="module")
def gpt() -> Any:
    """A small model whose units were fitted to noise."""
    model: Any = fresh_model(SpeechGpt, "nano", 3).eval().requires_grad_(False)
    model.prepare([noise(n, 40_000) for n in range(3)], 0, None)
    return model


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("speech")
    for number in range(22):
        soundfile.write(root / f"{number:02}.wav", noise(number, 24_000 + 1_000 * number).numpy(), 16_000)
    return root


def noise(seed: int, samples: int) -> Tensor:
    wave = torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))
    return 0.1 * torch.nn.functional.avg_pool1d(wave, 1 + seed % 5, 1, ceil_mode=True)[0][:samples]


def batch() -> tuple[Tensor, Tensor]:
    waves = [noise(n, 16_000 + 4_000 * n) for n in range(4)]
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor([len(wave) for wave in waves])


def test_pieces_are_parts_of_the_sounds_and_about_as_long_as_a_word() -> None:
    waves, lengths = batch()
    with seeded(1):
        cut, samples = echo.pieces(waves, lengths)
    assert len(cut) >= 4
    assert all(0.4 * 16_000 <= count <= 1.2 * 16_000 for count in samples.tolist())
    for piece, count in zip(cut, samples.tolist(), strict=True):
        starts = [start for wave in waves for start in torch.nonzero(wave == piece[0])[:, 0].tolist()]
        assert any(torch.equal(wave[at : at + count], piece[:count]) for wave in waves for at in starts)
    short, of = echo.pieces(torch.ones(1, 800), torch.tensor([800]))
    assert (short.shape, of.tolist()) == ((1, 800), [800])


def test_an_episode_alternates_sounds_and_their_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "PAIRS", 2)
    sounds, views = torch.tensor([[1, 2, 0], [3, 4, 5], [6, 0, 0]]), torch.tensor([[11, 12, 0], [13, 14, 15], [16, 0, 0]])
    units, counts = echo.episodes(sounds, views, torch.tensor([2, 3, 1]))
    assert counts.tolist() == [10, 2]
    assert units[0].tolist() == [1, 2, 11, 12, 3, 4, 5, 13, 14, 15]
    assert units[1, :2].tolist() == [6, 16]


@pytest.mark.slow
def test_a_view_shares_units_with_its_sound_without_being_equal(gpt: Any) -> None:
    """More units agree with those of the same sound than with those of another one."""
    waves = torch.stack([noise(n, 17_000)[:16_000] for n in range(5)])  # five spectra
    lengths = torch.full((5,), 16_000)
    units, frames = gpt.heard(waves, lengths)
    with seeded(2):
        view = gpt.another_view(waves, lengths, frames)
    assert view.shape == units.shape
    assert not torch.equal(view, units)
    shared = [[len(set(view[i].tolist()) & set(units[j].tolist())) for j in range(5)] for i in range(5)]
    assert sum(shared[i][i] for i in range(5)) > sum(shared[i][(i + 2) % 5] for i in range(5))


@pytest.mark.slow
def test_the_loss_depends_on_the_seed_alone_and_starts_near_that_of_uniform_guessing(gpt: Any) -> None:
    losses = []
    for seed in (1, 1, 2):
        with seeded(seed):
            losses.append(float(gpt.echo_loss(*batch())))
    assert losses[0] == losses[1] != losses[2]
    assert losses[0] == pytest.approx(math.log(200), rel=0.2)


@pytest.mark.slow
def test_training_on_echoes_makes_repeats_likely() -> None:
    """Sounds are random, so that only their repetition is predictable: after training, a repetition is likelier than another
    sound. Views equal their sounds here, so that training takes seconds."""
    torch.manual_seed(0)
    model: Any = fresh_model(SpeechGpt, "nano", 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def drawn(pairs: int) -> Tensor:
        sounds = torch.randint(0, 20, (pairs, 4))
        return echo.episodes(sounds, sounds, torch.full((pairs,), 4))[0]

    for _ in range(250):
        units = torch.cat([drawn(6) for _ in range(16)])
        logits = model.predict(model.states(units[:, :-1])[-1])
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), units.flatten()).backward()
        optimizer.step()
    sound, different = torch.arange(4), torch.tensor([9, 15, 3, 11])
    with torch.no_grad():
        logits = model.predict(model.states(torch.cat([sound, sound])[None, :-1])[-1])[0].log_softmax(-1)
        repeated = float(logits[4:].gather(1, sound[:, None]).sum())
        logits = model.predict(model.states(torch.cat([sound, different])[None, :-1])[-1])[0].log_softmax(-1)
        not_repeated = float(logits[4:].gather(1, different[:, None]).sum())
    assert repeated > not_repeated + 1


class InterruptPretraining(Silence):
    """Interrupts pretraining at its third update."""

    def advance(self, stage: str, done: float, total: float) -> None:
        if stage.startswith("pretrain") and done >= 3:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_pretraining_on_echoes_is_exact_after_an_interruption(speech: Path, tmp_path: Path) -> None:
    train: Callable[..., None] = lambda out, **options: pretrain(  # noqa: E731
        "speech_gpt:nano", speech, tmp_path / out, steps=4, device="cpu", **{"echo": True, **options}
    )
    train("one.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train("cut.safetensors", reporter=InterruptPretraining())
    assert not (tmp_path / "cut.safetensors").exists()
    train("cut.safetensors")
    train("plain.safetensors", echo=False)
    (uninterrupted, facts), (resumed, _), (plain, plain_facts) = (
        load_tensors(tmp_path / f"{name}.safetensors") for name in ("one", "cut", "plain")
    )
    assert all(torch.equal(uninterrupted[key], resumed[key]) for key in uninterrupted)
    assert not all(torch.equal(uninterrupted[key], plain[key]) for key in uninterrupted)
    assert facts["echo"] == "True"
    assert '"echo": "True"' in facts["run"]
    assert "echo" not in plain_facts
    assert "echo" not in plain_facts["run"]
    with pytest.raises(CommandError, match=r"one\.safetensors exists already.*echo True in the file, unknown now"):
        train("one.safetensors", echo=False)


def test_a_family_without_echo_episodes_is_refused_with_one_sentence(speech: Path, tmp_path: Path) -> None:
    with pytest.raises(SuperbenchError) as refused:
        pretrain("apc", speech, tmp_path / "apc.safetensors", echo=True)
    assert str(refused.value) == (
        "apc cannot be pretrained on echo episodes, because it has no method `echo_loss`; use --echo with speech_gpt, or "
        "remove it."
    )
    assert not list(tmp_path.iterdir())
