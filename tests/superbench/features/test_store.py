"""Sound passes through the model once, and the store never returns a partial entry."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from superbench import plugins
from superbench.contract import Audio, Features
from superbench.errors import BadUpstream
from superbench.features.extraction import extract, means
from superbench.features.store import Store
from superbench.plugins import Loaded
from superbench.system.progress import Silence


class Counting:
    """Wraps a model and counts the samples of real sound that pass through it."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.samples = model, 0
        self.sample_rate, self.hop, self.layers, self.dim, self.revision = 16_000, 320, 2, 17, "counting"

    def __call__(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
        self.samples += int(lengths.sum())
        return self.model(waves, lengths)


@pytest.fixture
def sounds(tmp_path: Path) -> list[Audio]:
    random = np.random.default_rng(0)
    for number in range(12):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * random.standard_normal(3000 + 400 * number), 16_000)
    return [Audio(tmp_path / f"{number}.wav") for number in range(12)]


def loaded(model: object) -> Loaded:
    return plugins.loaded(plugins.parse("counting"), model, "cpu")


def test_every_second_of_sound_passes_once(sounds: list[Audio], tones: ModuleType, tmp_path: Path) -> None:
    model = Counting(tones.Spectrum())
    total = sum(3000 + 400 * number for number in range(12))
    store = Store(tmp_path / "store")
    extract(loaded(model), sounds + sounds[:4], "frames", store, "cpu", Silence())
    assert model.samples == total
    again = extract(loaded(model), sounds[::-1], "frames", store, "cpu", Silence())
    assert model.samples == total
    assert again.passed_seconds == 0


def test_stored_features_are_the_models_own(sounds: list[Audio], tones: ModuleType, tmp_path: Path) -> None:
    model = tones.Spectrum()
    store = Store(tmp_path / "store")
    frames = extract(loaded(model), sounds, "frames", store, "cpu", Silence())
    averages = means(extract(loaded(model), sounds, "mean", store, "cpu", Silence()), sounds)
    for number, audio in enumerate(sounds):
        wave = torch.from_numpy(soundfile.read(audio.path, dtype="float32")[0])[None]
        alone = model(wave, torch.tensor([wave.shape[1]])).frames[:, 0]
        length = min(round(wave.shape[1] / 320), alone.shape[1])
        torch.testing.assert_close(frames[audio].float(), alone[:, :length].transpose(0, 1), atol=4e-3, rtol=1e-3)
        torch.testing.assert_close(averages[number], alone[:, :length].mean(1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chosen", [None, (1,), (1, 0)])
@pytest.mark.parametrize("reads", ["mean", "frames"])
def test_means_read_in_parts_are_those_of_each_sound(
    sounds: list[Audio], tones: ModuleType, tmp_path: Path, reads: str, chosen: tuple[int, ...] | None
) -> None:
    extraction = extract(loaded(tones.Spectrum()), sounds[:9], reads, Store(tmp_path / "store"), "cpu", Silence())
    extraction.chosen = chosen
    asked = [*sounds[4:], *sounds[:4], sounds[2]]  # some are not stored, one is asked twice
    expected = torch.stack([extraction[audio].float().mean(0) for audio in asked])
    torch.testing.assert_close(means(extraction, asked), expected, rtol=0, atol=0)
    for places, values in extraction.means_in_parts(asked, slice(0, 1)):
        torch.testing.assert_close(values, expected[places, :1], rtol=0, atol=0)


def test_another_gain_piece_or_model_is_another_entry(sounds: list[Audio], tones: ModuleType, tmp_path: Path) -> None:
    model, store = Counting(tones.Spectrum()), Store(tmp_path / "store")
    extract(loaded(model), sounds[:1], "mean", store, "cpu", Silence())
    for audio in (Audio(sounds[0].path, gain_db=-3), Audio(sounds[0].path, start=10), Audio(sounds[0].path, end=2000)):
        before = model.samples
        extract(loaded(model), [audio], "mean", store, "cpu", Silence())
        assert model.samples > before
    model.revision = "another"
    before = model.samples
    extract(loaded(model), sounds[:1], "mean", store, "cpu", Silence())
    assert model.samples > before


def test_a_changed_file_is_read_anew(sounds: list[Audio], tones: ModuleType, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = store.sounds([sounds[0].path])[0]
    soundfile.write(sounds[0].path, np.full(5000, 0.1), 16_000)
    assert store.sounds([sounds[0].path])[0].digest != first.digest


def test_a_flipped_byte_is_noticed_and_that_shard_is_made_anew(sounds: list[Audio], tones: ModuleType, tmp_path: Path) -> None:
    good = extract(loaded(tones.Spectrum()), sounds, "frames", Store(tmp_path / "store"), "cpu", Silence())
    right = [good[sound].clone() for sound in sounds]
    shard = next((tmp_path / "store" / "shards").rglob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    shard.write_bytes(bytes(content))
    messages: list[str] = []

    class Listening(Silence):
        def note(self, text: str) -> None:
            messages.append(text)

    again = extract(loaded(tones.Spectrum()), sounds, "frames", Store(tmp_path / "store"), "cpu", Listening())
    assert messages == ["stored features were damaged or missing (1 of 1 shards); they are computed again"]
    assert again.passed_seconds == good.passed_seconds
    assert all(torch.equal(again[sound], one) for sound, one in zip(sounds, right, strict=True))


def test_what_lies_in_another_requests_shard_does_not_pass_again(
    sounds: list[Audio], tones: ModuleType, tmp_path: Path
) -> None:
    model, store = Counting(tones.Spectrum()), Store(tmp_path / "store")
    extract(loaded(model), sounds[3:7], "frames", store, "cpu", Silence())
    every = extract(loaded(model), sounds, "frames", store, "cpu", Silence())
    assert model.samples == sum(3000 + 400 * number for number in range(12))
    assert len(every.entries) == 12


def test_nan_features_are_an_error_that_names_the_file(sounds: list[Audio], tones: ModuleType, tmp_path: Path) -> None:
    class Sick(tones.Spectrum):  # type: ignore[misc,name-defined]
        def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
            features = super().forward(waves, lengths)
            features.frames[:, :, 3] = float("nan")
            return features

    with pytest.raises(BadUpstream, match=r"NaN.*\.wav"):
        extract(loaded(Sick()), sounds, "mean", Store(tmp_path / "store"), "cpu", Silence())


def test_a_wrong_number_of_frames_or_layers_is_an_error(sounds: list[Audio], tones: ModuleType, tmp_path: Path) -> None:
    def declaring(hop: int, layers: int) -> Loaded:
        return Loaded("x", plugins.parse("x"), tones.Spectrum(), "r", 0, hop, layers, 17)

    with pytest.raises(BadUpstream, match="hop"):
        extract(declaring(160, 2), sounds, "mean", Store(tmp_path / "a"), "cpu", Silence())
    with pytest.raises(BadUpstream, match="declares"):
        extract(declaring(320, 3), sounds, "mean", Store(tmp_path / "b"), "cpu", Silence())


def test_out_of_memory_halves_the_batch_and_drops_nothing(sounds: list[Audio], tones: ModuleType, tmp_path: Path) -> None:
    class Narrow(tones.Spectrum):  # type: ignore[misc,name-defined]
        def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
            if len(waves) > 3:
                raise torch.OutOfMemoryError("too much")
            return super().forward(waves, lengths)

    extraction = extract(loaded(Narrow()), sounds, "mean", Store(tmp_path / "store"), "cpu", Silence())
    wide = extract(loaded(tones.Spectrum()), sounds, "mean", Store(tmp_path / "other"), "cpu", Silence())
    torch.testing.assert_close(means(extraction, sounds), means(wide, sounds), rtol=1e-6, atol=1e-6)
