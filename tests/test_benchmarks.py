"""Every benchmark runs, at a size that says nothing about time, and prints its ratios."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import librosa
import numpy as np
import pytest
import soundfile
import torch

from superbench import run

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = ["--upstream", f"{BENCHMARKS / 'synthetic.py'}:HubertTiny"]
RUNS = {
    "sweep": [*TINY, "--tasks", "ks,ic,sid,er", "--rounds", "1", "--updates", "2", "--items", "40", "--seconds", "1"],
    "against_reference": [*TINY, "--task", "er", "--rounds", "1", "--updates", "2", "--seconds", "0.2"],
    "extraction": [*TINY, "--rounds", "1", "--count", "3", "--seconds", "0.5", "--kind", "voices", "--precision", "bfloat16"],
    "feeding": ["--cores", "1", "--rounds", "1", "--count", "4", "--seconds", "0.5", "--frames", "2"],
    "rates": ["--rounds", "1", "--count", "32", "--seconds", "0.3", "--updates", "1"],
    "memory": ["--count", "2", "--sizes", "1,2", "--seconds", "0.3"],
    "startup": ["--rounds", "1"],
    "interval_coverage": ["--groups", "4,20", "--corpora", "3"],
    "query_by_example": ["--rounds", "1", "--queries", "2", "--documents", "2", "--dim", "8"],
    "board": ["--scale", "0.005", "--rows", "3"],
}
"""`warm` needs a corpus, `page` a browser, `speakers` weights: they have tests of their own."""


@pytest.fixture(autouse=True)
def as_a_script_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script's own folder comes first; its number of threads goes with it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)


def ratios(name: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[float]:
    """The figures that a benchmark prints."""
    script(name).main(arguments)
    return [float(found) for found in re.findall(r"^ratio ([\d.e+-]+): \S", capsys.readouterr().out, re.MULTILINE)]


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_benchmark_prints_its_ratios(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = ratios(name, RUNS[name], capsys)
    counts = {
        "sweep": 12,
        "against_reference": 3,
        "extraction": 2,
        "feeding": 9,
        "rates": 4,
        "memory": 1,
        "startup": 3,
        "query_by_example": 4,
        "interval_coverage": 2,
        "board": 2,
    }
    assert len(found) == counts[name]
    assert all(0 < abs(ratio) < float("inf") for ratio in found)


def test_a_warm_start_is_set_against_a_cold_one(keyword_corpora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ratios("warm", [*TINY, "--task", "ks", "--data", str(keyword_corpora), "--rounds", "1"], capsys)
    assert len(found) == 1


@pytest.mark.slow
def test_a_page_of_many_models_is_set_against_one_of_few(capsys: pytest.CaptureFixture[str]) -> None:
    if not (shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")):
        pytest.skip("chromium is missing")
    assert len(ratios("page", ["--models", "60", "--rounds", "1"], capsys)) == 1


@pytest.mark.parametrize("name", [*RUNS, "warm", "page", "speakers"])
def test_help_says_what_a_benchmark_asks_and_how_it_is_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = script(name)
    with pytest.raises(SystemExit):
        module.main(["--help"])
    shown = capsys.readouterr().out
    assert (module.__doc__ or "").strip() in shown
    assert f"python benchmarks/{name}.py" in shown


@pytest.mark.slow
def test_the_script_for_a_gpu_says_that_there_is_none() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, and ten minutes are too long for a test")
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(["bash", BENCHMARKS / "on_gpu.sh"], capture_output=True, text=True, env=environment, timeout=300)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("on_gpu.sh: torch finds no CUDA device on this machine")
    assert done.stderr.count("\n") == 1


def test_every_benchmark_has_a_row_in_the_table() -> None:
    table = (BENCHMARKS / "README.md").read_text()
    scripts = {path.name for path in BENCHMARKS.glob("*.py") if "def main" in path.read_text()}
    assert {name for name in scripts if f"`{name}`" not in table} == set()


@pytest.fixture
def speaker_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`speakers` beside a package of the encoder's name that cannot be imported, with random weights of its shapes."""
    package = tmp_path / "site" / "resemblyzer"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('webrtcvad')")
    lstm, linear = torch.nn.LSTM(40, 256, 3), torch.nn.Linear(256, 256)
    state = {f"lstm.{name}": value for name, value in lstm.state_dict().items()}
    state |= {f"linear.{name}": value for name, value in linear.state_dict().items()}
    torch.save({"model_state": state}, package / "pretrained.pt")
    monkeypatch.syspath_prepend(str(package.parent))
    module = script("speakers")
    module.stacked = lstm
    return module


@pytest.mark.slow
def test_the_speaker_encoder_reads_what_it_learned_to_read(speaker_encoder: ModuleType) -> None:
    wave = 0.1 * np.random.default_rng(0).standard_normal(8_000).astype(np.float32)
    model = speaker_encoder.Resemblyzer().eval()
    mel = librosa.feature.melspectrogram(y=wave, sr=16_000, n_fft=400, hop_length=160, n_mels=40).T
    with torch.inference_mode():
        read = model.mel(torch.from_numpy(wave)[None])[0, :51]
        frames = model(torch.from_numpy(wave)[None], torch.tensor([8_000])).frames[-1, 0, :51]
        expected = speaker_encoder.stacked(torch.from_numpy(mel)[:, None])[0][:, 0]
    assert np.allclose(read, mel, rtol=1e-3, atol=1e-6)
    assert torch.allclose(frames, expected, atol=1e-4)


def test_frames_of_the_speaker_encoder_do_not_depend_on_batch_mates(speaker_encoder: ModuleType) -> None:
    waves = 0.01 * torch.randn(2, 9_600, generator=torch.Generator().manual_seed(1))
    waves[0, 8_000:] = 0
    model = speaker_encoder.Resemblyzer().eval()
    with torch.inference_mode():
        together = model(waves, torch.tensor([8_000, 9_600]))
        alone = model(waves[:1, :8_000], torch.tensor([8_000]))
    assert together.lengths.tolist() == [50, 60]
    assert torch.allclose(together.frames[:, :1, :50], alone.frames[:, :, :50], atol=1e-5)


def test_the_speaker_encoders_own_embeddings_are_tried_on_the_trials(speaker_encoder: ModuleType, tmp_path: Path) -> None:
    random, root = np.random.default_rng(2), tmp_path / "VoxCeleb1"
    names = [f"{speaker}/aaaaaaaaaaa/0000{number}.wav" for speaker in ("id10001", "id10270", "id10309") for number in (1, 2)]
    for name in names:
        path = root / ("test" if name > "id102" else "dev") / "wav" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, random.normal(0, 0.1, 24_000), 16_000)
    trials = [(names[2], names[3]), (names[4], names[5]), (names[2], names[4]), (names[3], names[5])]
    lines = [f"{int(left[:7] == right[:7])} {left} {right}\n" for left, right in trials]
    (root / "voxceleb1_test_v2.txt").write_text("".join(lines))
    assert re.fullmatch(r"\d+\.\d \[.+, .+\]", speaker_encoder.own(tmp_path))


def test_without_its_weights_the_script_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("speakers")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install --no-deps resemblyzer"):
        module.weights()


def test_sides_take_turns_and_ratios_are_of_rounds() -> None:
    paired = script("paired")
    calls: list[str] = []
    timings = paired.in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, warm_up=1)
    assert calls == ["a", "b"] * 3
    assert len(timings.seconds["a"]) == 2
    timings = paired.Timings({"a": [1.0, 20.0, 3.0], "b": [2.0, 10.0, 2.0]})  # ratios 0.5, 2, 1.5
    assert timings.ratio("a", "b") == 1.5
    assert timings.median("a") == 3.0


def test_what_survives_kills_is_compared_without_the_clock_alone(
    keyword_corpora: Path, warm_store: Path, tmp_path: Path
) -> None:
    kills = script("kills")
    run(["mfcc"], "ks", data=keyword_corpora, out=tmp_path / "out", store=warm_store, max_steps=1, workers=1)
    expected = kills.results(tmp_path)
    place = tmp_path / "out" / "mfcc" / "ks" / "result.json"
    result = json.loads(place.read_text())
    result["seconds"]["train"] += 1
    result["efficiency"]["real_time_factor"] += 1
    result["environment"]["date"] = "1970-01-01"
    place.write_text(json.dumps(result))
    assert kills.differing(kills.results(tmp_path), expected) == []
    result["scores"]["accuracy"]["value"] += 1
    place.write_text(json.dumps(result))
    assert kills.differing(kills.results(tmp_path), expected) == ["ks.scores"]
    assert kills.differing({}, expected) == sorted(f"ks.{part}" for part in expected["ks"])
