"""Decoding of audio references, and an error for every fault of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from superbench import Audio, BadAudio, load_audio
from superbench.data.audio import without_silence


def wav(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT" if not np.isfinite(samples).all() else "PCM_16")
    return path


def test_a_truncated_wav_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = wav(tmp_path / "cut.wav", np.ones(8000) * 0.1)
    path.write_bytes(path.read_bytes()[:5000])
    assert len(soundfile.read(path)[0]) < 8000, "libsndfile reads it without a word; that is why the header is checked"
    with pytest.raises(BadAudio, match=r"cut\.wav is cut off"):
        load_audio(Audio(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable sound file"),
        (b"RIFF", "not a readable sound file"),
        (b"hello, I am a text file and no sound", "not a readable sound file"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "cut off"),
    ],
)
def test_what_is_no_sound_is_an_error(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(BadAudio, match=message):
        load_audio(Audio(path))


def test_empty_nan_and_missing_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(BadAudio, match="holds no samples"):
        load_audio(Audio(wav(tmp_path / "empty.wav", np.zeros(0))))
    with pytest.raises(BadAudio, match="NaN"):
        load_audio(Audio(wav(tmp_path / "nan.wav", np.array([0.0, np.nan]))))
    with pytest.raises(BadAudio, match="not there"):
        load_audio(Audio(tmp_path / "gone.wav"))
    with pytest.raises(BadAudio, match="no sound between samples 9000"):
        load_audio(Audio(wav(tmp_path / "short.wav", np.ones(8000) * 0.1), start=9000))


def test_stereo_is_averaged_rates_are_resampled_and_gain_is_in_decibels(tmp_path: Path) -> None:
    stereo = np.stack([np.full(800, 0.2), np.full(800, 0.4)], 1)
    torch.testing.assert_close(load_audio(Audio(wav(tmp_path / "s.wav", stereo))), torch.full((800,), 0.3), atol=1e-4, rtol=0)
    assert len(load_audio(Audio(wav(tmp_path / "r.wav", np.ones(4000) * 0.1, 8000)))) == 8000
    quiet = load_audio(Audio(wav(tmp_path / "g.wav", np.ones(800) * 0.5), gain_db=-3.0))
    torch.testing.assert_close(quiet, torch.full((800,), 0.5 * 0.70795), atol=1e-4, rtol=0)


def test_a_piece_is_cut_after_everything_else(tmp_path: Path) -> None:
    ramp = np.linspace(0.1, 0.5, 1000)
    piece = load_audio(Audio(wav(tmp_path / "p.wav", ramp), start=100, end=300))
    np.testing.assert_allclose(piece, ramp[100:300], atol=1e-4)


def test_silence_goes_from_the_front_and_where_it_is_long() -> None:
    tone = 0.3 * torch.sin(torch.arange(8000) * 0.3)
    pause = torch.zeros
    wave = torch.cat([pause(4000), tone, pause(800), tone, pause(4800), tone, pause(3200)])
    kept = without_silence(wave)
    assert abs(len(kept) - (3 * 8000 + 800)) < 4 * 320, "only the short inner pause stays"
    assert len(without_silence(pause(5000))) == 5000


def test_flac_is_read_and_a_cut_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    assert len(load_audio(Audio(path))) == 16_000
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(BadAudio):
        load_audio(Audio(path))
