"""Sound files of all formats: truncated, written to a pipe, with a wrong suffix, or without sound."""

from __future__ import annotations

import os
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from superbench import Audio, BadAudio, audio_header, load_audio
from superbench.data.audio import checked
from superbench.data.check import look
from superbench.data.sound_files import holds_sound

SAMPLES = 32_000
KINDS = {
    "riff.wav": ("WAV", "PCM_16", "FILE"),
    "extensible.wav": ("WAVEX", "PCM_24", "FILE"),
    "float.wav": ("WAV", "FLOAT", "FILE"),
    "adpcm.wav": ("WAV", "IMA_ADPCM", "FILE"),
    "gsm.wav": ("WAV", "GSM610", "FILE"),
    "rifx.wav": ("WAV", "PCM_16", "BIG"),
    "rf64.wav": ("RF64", "PCM_16", "FILE"),
    "w64.w64": ("W64", "PCM_16", "FILE"),
    "sphere.sph": ("NIST", "PCM_16", "FILE"),
    "ulaw.sph": ("NIST", "ULAW", "FILE"),
    "aiff.aiff": ("AIFF", "PCM_16", "FILE"),
    "aifc.aifc": ("AIFF", "FLOAT", "FILE"),
    "au.au": ("AU", "PCM_16", "FILE"),
    "little.snd": ("AU", "PCM_16", "LITTLE"),
    "caf.caf": ("CAF", "PCM_16", "FILE"),
    "alac.caf": ("CAF", "ALAC_16", "FILE"),
    "x.flac": ("FLAC", "PCM_16", "FILE"),
    "x.mp3": ("MP3", "MPEG_LAYER_III", "FILE"),
    "x.ogg": ("OGG", "VORBIS", "FILE"),
    "x.opus": ("OGG", "OPUS", "FILE"),
}


def noise(samples: int = SAMPLES, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


def written(path: Path, kind: str, wave: np.ndarray | None = None, rate: int = 16_000) -> bytes:
    form, subtype, endian = KINDS[kind]
    soundfile.write(path, noise() if wave is None else wave, rate, format=form, subtype=subtype, endian=endian)
    return path.read_bytes()


def heard(path: Path) -> int:
    """Returns the samples of a sound; every function that reads or counts them must agree."""
    count = len(load_audio(Audio(path)))
    assert (count, 16_000) == audio_header(path) == checked(path)
    assert look(path, deep=False) == look(path, deep=True) == (count, 16_000)
    return count


def refused(path: Path, words: str) -> None:
    """Asserts that every function that reads sound raises an error that names the file."""
    for read in (lambda: load_audio(Audio(path)), lambda: checked(path)):
        with pytest.raises(BadAudio, match=words) as caught:
            read()
        assert str(path) in str(caught.value)
    for deep in (False, True):
        message = look(path, deep)
        assert isinstance(message, str)
        assert str(path) in message


# ---------------------------------------------------------------- cut files


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["own", ".wav"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_of_any_format_is_found_under_any_name(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / (kind if suffix == "own" else "x.wav")
    content = written(path, kind)
    assert heard(path) >= SAMPLES
    for length in (len(content) // 2, len(content) * 9 // 10, len(content) - 2):
        path.write_bytes(content[:length])
        refused(path, r"cut off|not a readable sound file")


@pytest.mark.parametrize("form", ["AVR", "IRCAM", "MAT5", "PAF", "PVF", "SVX", "VOC"])
def test_formats_of_which_a_part_cannot_be_told_from_the_whole_are_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, noise(), 16_000, format=form, subtype="PCM_16")
    assert soundfile.info(path).frames == SAMPLES
    refused(path, r"superbench reads wav, .*Convert it")


def test_a_damaged_header_does_not_take_all_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    content = bytearray(written(path, "x.flac"))
    content[21] |= 0x0F  # 64 milliards of samples
    path.write_bytes(content)
    with pytest.raises(BadAudio, match=r"of the \d{11} samples that it promises, 32000 can be decoded"):
        load_audio(Audio(path))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rf64.wav", "x.mp3", "aiff.aiff", "sphere.sph", "caf.caf", "x.ogg"])
def test_a_header_that_is_cut_anywhere_is_an_error_of_ours(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    content = written(path, kind, noise(4000))
    for length in range(120):
        path.write_bytes(content[:length])
        for read in (audio_header, checked, lambda file: load_audio(Audio(file))):
            with pytest.raises(BadAudio):
                read(path)


@pytest.mark.parametrize("rate", [1, 2_000_000_000])
def test_a_sample_rate_that_no_recorder_has_is_named(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "x.wav"
    content = bytearray(written(path, "float.wav"))
    struct.pack_into("<I", content, 24, rate)
    path.write_bytes(content)
    refused(path, f"{rate} samples a second")


# ---------------------------------------------------------------- written to a pipe

SIZES = [0, 0x7FFFF000, 0x7FFFF000 // 3 * 3, 0x7FFFFF00, 0x7FFFFFFE, 0x7FFFFFFF, 0x80000000, 0xFFFFFFB9, 0xFFFFFFFF]


@pytest.mark.slow
@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["riff.wav", "rifx.wav", "au.au", "little.snd"])
def test_a_length_that_a_pipe_did_not_know_is_that_of_the_file(tmp_path: Path, kind: str, size: int, width: int) -> None:
    path = tmp_path / kind
    form, _, endian = KINDS[kind]
    soundfile.write(path, noise(), 16_000, format=form, subtype=f"PCM_{8 * width}", endian=endian)
    before = load_audio(Audio(path))
    content = bytearray(path.read_bytes())
    place = 8 if form == "AU" else content.index(b"data") + 4
    struct.pack_into("<I" if kind in ("riff.wav", "little.snd") else ">I", content, place, size)
    path.write_bytes(content)
    assert heard(path) == SAMPLES
    assert torch.equal(load_audio(Audio(path)), before)


@pytest.mark.parametrize(("form", "frames", "size"), [(0, 0, 0), (0, 0, 8), (0x7F00002E, 0x3F800000, 0x7F000008), (-1, -1, -1)])
def test_an_aiff_from_a_pipe_is_read_to_its_end(tmp_path: Path, form: int, frames: int, size: int) -> None:
    path = tmp_path / "x.aiff"
    content = bytearray(written(path, "aiff.aiff"))
    common, sound = content.index(b"COMM"), content.index(b"SSND")
    for place, number in ((4, form), (common + 10, frames), (sound + 4, size)):
        struct.pack_into(">I", content, place, number & 0xFFFFFFFF)
    path.write_bytes(content)
    assert heard(path) == SAMPLES


@pytest.mark.parametrize("size", [0, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize(
    ("kind", "name", "after", "form"),
    [("rf64.wav", b"ds64", 16, "<Q"), ("w64.w64", b"data", 16, "<Q"), ("caf.caf", b"data", 4, ">Q")],
)
def test_long_lengths_of_a_pipe_are_those_of_the_file(
    tmp_path: Path, kind: str, name: bytes, after: int, form: str, size: int
) -> None:
    path = tmp_path / kind
    content = bytearray(written(path, kind))
    struct.pack_into(form, content, content.index(name) + after, size)
    path.write_bytes(content)
    assert heard(path) == SAMPLES


@pytest.mark.parametrize("count", [b"sample_count -i 00000\n", b"sample_level -i 32000\n"])
def test_a_sphere_without_a_count_is_read_to_its_end(tmp_path: Path, count: bytes) -> None:
    path = tmp_path / "x.sph"
    path.write_bytes(written(path, "sphere.sph").replace(b"sample_count -i 32000\n", count))
    assert heard(path) == SAMPLES


def test_a_flac_without_a_length_is_decoded_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    content = bytearray(written(path, "x.flac"))
    before = load_audio(Audio(path))
    content[21] &= 0xF0
    content[22:42] = bytes(20)  # length and checksum, as an encoder on a pipe leaves them
    path.write_bytes(content)
    assert heard(path) == SAMPLES
    assert torch.equal(load_audio(Audio(path)), before)


def test_a_header_that_is_true_stays_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    content = written(path, "riff.wav", noise(0)) + b"LIST\x04\x00\x00\x00INFO"
    path.write_bytes(content)
    assert audio_header(path) == (0, 16_000)
    with pytest.raises(BadAudio, match="holds no samples"):
        load_audio(Audio(path))
    path.write_bytes(written(path, "riff.wav") + b"some bytes that a program left")
    assert heard(path) == SAMPLES


# ---------------------------------------------------------------- heard whole


def without_first_frame(content: bytes) -> bytes:
    """An mp3 without the frame that declares their number."""
    return content[content.index(content[:2], 4) :]


@pytest.mark.slow
@pytest.mark.parametrize("loud_first", [True, False])
@pytest.mark.parametrize("name", ["x.mp3", "x.wav", "x.flac"])
def test_an_mp3_that_does_not_say_its_length_is_heard_whole(tmp_path: Path, loud_first: bool, name: str) -> None:
    loud = noise()
    wave = np.concatenate([loud, 0 * loud] if loud_first else [0 * loud, loud])
    path = tmp_path / name
    soundfile.write(path, wave, 16_000, format="MP3", bitrate_mode="VARIABLE")
    whole = load_audio(Audio(path))
    assert len(whole) == 2 * SAMPLES
    path.write_bytes(without_first_frame(path.read_bytes()))
    assert soundfile.info(path).frames != 2 * SAMPLES
    count = heard(path)
    assert 2 * SAMPLES <= count < 2 * SAMPLES + 3 * 576  # the encoder's delay is heard
    wave = load_audio(Audio(path))
    lag = max(range(count - len(whole) + 1), key=lambda at: float(wave[at : at + len(whole)] @ whole))
    torch.testing.assert_close(wave[lag : lag + len(whole)], whole, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (2, 22_050), (1, 44_100), (2, 48_000)])
def test_mp3_of_every_version_is_counted(tmp_path: Path, channels: int, rate: int) -> None:
    path = tmp_path / "x.mp3"
    wave = np.stack([noise(rate, seed) for seed in range(channels)], 1)
    soundfile.write(path, wave, rate)
    assert audio_header(path) == (rate, rate)
    path.write_bytes(without_first_frame(path.read_bytes()))
    samples, _ = audio_header(path)
    assert rate <= samples < rate + 3 * 1152


def test_tags_and_rests_around_an_mp3_change_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.mp3"
    content = written(path, "x.mp3")
    before = load_audio(Audio(path))
    tag = b"ID3\x04\x00\x00\x00\x00\x08\x00" + b"\xff\xfb\x90\x00" * 256
    for around in (tag + content, content + b"TAG" + bytes(125), content + b"APETAGEX" + bytes(900), bytes(700) + content):
        path.write_bytes(around)
        assert torch.equal(load_audio(Audio(path)), before)
    assert "".join(capfd.readouterr()) == ""


def test_streams_that_follow_each_other_are_all_heard(tmp_path: Path) -> None:
    for kind, delay in (("x.ogg", 0), ("x.opus", 0), ("x.mp3", 3 * 1152)):
        path = tmp_path / kind
        content = written(path, kind)
        path.write_bytes(content + content)
        assert 2 * SAMPLES <= heard(path) <= 2 * SAMPLES + delay
        path.write_bytes(content + content[:-2])
        refused(path, "cut off")


@pytest.mark.parametrize("kind", ["riff.wav", "aiff.aiff", "x.flac"])
def test_a_file_that_another_follows_is_not_heard_in_part(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    content = written(path, kind)
    path.write_bytes(content + content)
    with pytest.raises(BadAudio, match=r"contains several.*Join them"):
        load_audio(Audio(path))


def test_streams_of_different_kinds_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.ogg"
    path.write_bytes(written(path, "x.ogg") + written(path, "x.ogg", rate=44_100))
    refused(path, "different formats")


# ---------------------------------------------------------------- by content


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.mp3", "x.ogg", "x.raw", "x"])
@pytest.mark.parametrize("kind", ["riff.wav", "x.flac", "x.mp3", "x.ogg", "sphere.sph"])
def test_a_file_is_what_it_holds(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    written(path, kind)
    assert heard(path) == SAMPLES
    assert holds_sound(path)


def test_a_companion_of_another_system_does_not_hide_a_sound(tmp_path: Path) -> None:
    written(tmp_path / "x.mp3", "x.mp3")
    (tmp_path / "._x.mp3").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(4000))
    assert heard(tmp_path / "x.mp3") == SAMPLES


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x00\x00\x00\x20ftypM4A " + bytes(500), r"MPEG-4 \(m4a\).*Convert it.*ffmpeg -i x\.m4a"),
        (b"\xff\xf1\x50\x80\x01\x7f\xfc" + bytes(500), "AAC.*Convert it"),
        (b"\x1aE\xdf\xa3" + bytes(500), "WebM.*Convert it"),
        (b"OggS\x00\x02" + bytes(20) + b"\x01\x50Speex   1.2" + bytes(70), "Speex.*Convert it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
def test_what_libsndfile_does_not_decode_is_named_with_what_to_do(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.m4a"
    path.write_bytes(content)
    refused(path, words)
    assert not holds_sound(path)


def test_a_sphere_with_shorten_in_it_is_to_be_converted(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    content = written(path, "sphere.sph").replace(b"-s3 pcm\n", b"-s26 pcm,embedded-shorten-v2.00\n")
    path.write_bytes(content)
    refused(path, "embedded-shorten.*Convert it")


def test_a_link_that_leads_nowhere_is_said(tmp_path: Path) -> None:
    os.symlink("gone.wav", tmp_path / "x.wav")
    with pytest.raises(BadAudio, match=r"x\.wav is a link to gone\.wav, which is not there"):
        load_audio(Audio(tmp_path / "x.wav"))


# ---------------------------------------------------------------- numbers that cannot be meant


@pytest.mark.parametrize("whole", [2**7, 2**15, 2**23, 2**31])
@pytest.mark.parametrize("form", ["WAV", "AIFF", "CAF"])
def test_whole_numbers_saved_as_floats_are_named(tmp_path: Path, form: str, whole: int) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, noise() * whole, 16_000, format=form, subtype="DOUBLE")
    refused(path, rf"full scale is 1.*Divide them by {whole}")


def test_floats_a_little_beyond_full_scale_are_heard(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, (noise() * 20).clip(-3.5, 3.5), 16_000, subtype="FLOAT")
    assert heard(path) == SAMPLES
    assert float(load_audio(Audio(path)).abs().max()) == 3.5


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "hears"), [(-1, False), (-0.95, False), (-0.5, True), (0, True), (1, True)])
@pytest.mark.parametrize("form", ["WAV", "FLAC", "MP3"])
def test_channels_that_cancel_each_other_are_named(tmp_path: Path, form: str, factor: float, hears: bool) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.stack([noise(), factor * noise()], 1), 16_000, format=form)
    if hears:
        assert heard(path) == SAMPLES
    else:
        refused(path, "cancel each other")


def test_channels_that_are_silent_do_not_cancel(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros((800, 2)), 16_000)
    assert heard(path) == 800


# ---------------------------------------------------------------- rates


@pytest.mark.parametrize("rate", [8000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_usual_rates_are_resampled_by_torchaudio_to_the_digit(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, noise(rate // 2), rate)
    wave = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
    assert torch.equal(load_audio(Audio(path)), torchaudio.functional.resample(wave, rate, 16_000))


@pytest.mark.parametrize("rate", [22_254, 16_001, 44_101, 11_127, 44_056])
def test_rates_without_a_common_divisor_cost_no_more_than_others(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "x.wav"
    time_of = np.arange(rate) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * time_of), rate, subtype="FLOAT")
    load_audio(Audio(path))
    tracemalloc.start()
    began = time.process_time()
    wave = load_audio(Audio(path))
    spent, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(wave) == 16_000
    assert (spent < 0.5, most < 2**25) == (True, True)
    expected = torch.sin(2 * np.pi * 440 * torch.arange(16_000, dtype=torch.float64) / 16_000) * 0.5
    torch.testing.assert_close(wave[200:-200].double(), expected[200:-200], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("first", "second"), [(80_000, 400), (80_000, 80_000), (400, 80_000), (400, 400)])
def test_a_second_flac_is_found_wherever_it_begins(tmp_path: Path, first: int, second: int) -> None:
    random, contents = np.random.default_rng(0), []
    for number, samples in enumerate((first, second)):
        soundfile.write(tmp_path / f"{number}.flac", 0.3 * random.standard_normal(samples).clip(-3, 3), 16_000)
        contents.append((tmp_path / f"{number}.flac").read_bytes())
        assert len(load_audio(Audio(tmp_path / f"{number}.flac"))) == samples
    path = tmp_path / "both.flac"
    path.write_bytes(b"".join(contents))
    with pytest.raises(BadAudio, match=r"contains several FLAC files"):
        load_audio(Audio(path))


def test_one_channel_of_integers_is_heard_as_it_is(tmp_path: Path) -> None:
    samples = np.array([0, 1, -1, 2**15 - 1, -(2**15)])
    soundfile.write(tmp_path / "a.wav", samples.astype(np.int16), 16_000, "PCM_16")
    assert load_audio(Audio(tmp_path / "a.wav")).tolist() == (samples / 2**15).tolist()
    soundfile.write(tmp_path / "b.wav", np.stack([samples, samples // 2], 1).astype(np.int16), 16_000, "PCM_16")
    assert load_audio(Audio(tmp_path / "b.wav")).tolist() == pytest.approx(((samples + samples // 2) / 2**16).tolist())
