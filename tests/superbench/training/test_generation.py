"""`superbench generate`: the prompt is unchanged, the seed determines the continuation, errors suggest a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from typer.testing import CliRunner

from superbench.cli.app import app
from superbench.errors import BadAudio, BadCheckpoint, CommandError
from superbench.plugins.checkpoints import fresh_model, save_model
from superbench.system.progress import Silence
from superbench.training.pretraining.generation import Continuation, generate
from upstream import apc, speech_gpt


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "prompt.wav"
    time = torch.arange(16_100) / 16_000
    soundfile.write(path, (torch.sin(2 * torch.pi * 300 * time * (1 + time)) * 0.3).numpy(), 16_000)
    return path


def written(path: Path, module: Any, name: str) -> Path:
    """A checkpoint of an untrained model, which is named by its file, like a plugin without an entry point."""
    family = getattr(module, name)
    model: Any = fresh_model(family, "mini", 0)
    save_model(path, model, family=f"{module.__file__}:{name}", size="mini", facts={})
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("model") / "gpt.safetensors", speech_gpt, "SpeechGpt")


def continued(checkpoint: Path, prompt: Path, seed: int = 0, seconds: float = 0.5) -> Continuation:
    return generate(
        checkpoint, prompt, seconds=seconds, temperature=1.0, seed=seed, device="cpu", reporter=Silence()
    )  # fmt: skip


@pytest.mark.slow
def test_the_prompt_stays_and_the_asked_time_follows(checkpoint: Path, prompt: Path) -> None:
    found = continued(checkpoint, prompt)
    heard = torch.from_numpy(soundfile.read(prompt, dtype="float32")[0])
    assert found.start == 16_100
    assert len(found.wave) == 16_100 + 8_000
    assert torch.equal(found.wave[: 16_100 - 320], heard[:-320])  # the last frame fades over
    assert torch.isfinite(found.wave).all()
    assert found.wave[16_100:].abs().max() > 0
    assert found.facts["units of the prompt"] == 49


@pytest.mark.slow
def test_a_prompt_is_what_it_holds_and_a_cut_one_is_refused(checkpoint: Path, prompt: Path, tmp_path: Path) -> None:
    wave, rate = soundfile.read(prompt)
    other = tmp_path / "prompt.wav"
    soundfile.write(other, wave, rate, format="AIFF", subtype="PCM_16")
    assert torch.equal(continued(checkpoint, other).wave, continued(checkpoint, prompt).wave)
    other.write_bytes(other.read_bytes()[:-100])
    with pytest.raises(BadAudio, match=r"prompt\.wav is cut off"):
        continued(checkpoint, other)


@pytest.mark.slow
def test_the_seed_makes_the_sound(checkpoint: Path, prompt: Path) -> None:
    one, again, other = (continued(checkpoint, prompt, seed).wave for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.slow
def test_units_of_a_model_become_the_spectrum_of_their_centroids() -> None:
    torch.manual_seed(0)
    model = speech_gpt.SpeechGpt(speech_gpt.SpeechGpt.configs["mini"])
    time = torch.arange(32_000) / 16_000
    low, high = (0.2 * torch.sin(2 * torch.pi * pitch * time) + 0.001 * torch.randn(32_000) for pitch in (400.0, 2500.0))
    with torch.no_grad():
        model.prepare([low, high], 0, None)
        units, _ = model.heard(high[None], torch.tensor([32_000]))
        spoken = model.spoken(units[0])
    spectrum = torch.fft.rfft(spoken * torch.hann_window(len(spoken))).abs()
    assert float(spectrum.argmax()) / len(spoken) * 16_000 == pytest.approx(2500, abs=100)


@pytest.mark.slow
def test_a_model_that_cannot_generate_is_named_with_one_that_can(tmp_path: Path, prompt: Path) -> None:
    path = written(tmp_path / "apc.safetensors", apc, "Apc")
    with pytest.raises(CommandError, match=r"cannot generate(.|\n)*superbench pretrain speech_gpt"):
        continued(path, prompt)


def test_a_checkpoint_that_is_absent_or_no_checkpoint_is_told_apart(tmp_path: Path, prompt: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"does not exist(.|\n)*superbench pretrain"):
        continued(tmp_path / "none.safetensors", prompt)
    (tmp_path / "text.safetensors").write_text("not one")
    with pytest.raises(BadCheckpoint, match="Copy the file again, or repeat the pretraining"):
        continued(tmp_path / "text.safetensors", prompt)


@pytest.mark.slow
def test_the_command_writes_a_wav_with_or_without_the_prompt(tmp_path: Path, checkpoint: Path, prompt: Path) -> None:
    for more, samples in (((), 16_100 + 3_200), (("--alone",), 3_200)):
        out = tmp_path / f"{len(more)}.wav"
        given = ["generate", str(checkpoint), "--prompt", str(prompt), "--seconds", "0.2", "--out", str(out), *more]
        done = CliRunner().invoke(app, given)
        assert done.exit_code == 0, done.output
        assert "perplexity" in done.output
        assert soundfile.info(str(out)).frames == samples
