"""Trackers receive the curves of probes and of pretraining, change no result, and end no training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import doubles
import pytest

import superbench
from superbench.errors import CommandError, MissingExtra
from superbench.system.progress import Silence
from superbench.training.tracking import require_tracker, tracking


class Notes(Silence):
    """Keeps remarks."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        """Keep it."""
        self.said.append(text)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> doubles.FakeTrackers:
    """Stand-ins for wandb and trackio, which need not be installed."""
    made = doubles.FakeTrackers()
    monkeypatch.setitem(sys.modules, "wandb", made.wandb)
    monkeypatch.setitem(sys.modules, "trackio", made.trackio)
    return made


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_values_arrive_with_their_step_and_nan_does_not(name: str, fakes: doubles.FakeTrackers, tmp_path: Path) -> None:
    with tracking(name, "apc ks", tmp_path / "run", {"task": "ks"}, Notes()) as tracker:
        tracker.log(5, {"loss": 0.5, "dev": None, "other": float("nan")})
        tracker.log(6, {"dev": None})
    assert [call for call, _ in fakes.calls] == ["init", "log", "finish"]
    assert (fakes.calls[0][1]["name"], fakes.calls[0][1]["config"]) == ("apc ks", {"task": "ks"})
    assert fakes.calls[1][1] == (5, {"loss": 0.5})


def test_wandb_is_offline_unless_the_environment_says_otherwise(
    fakes: doubles.FakeTrackers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for _ in range(2):
        with tracking("wandb", "r", tmp_path, {}, Notes()) as tracker:
            tracker.log(1, {"loss": 1.0})
        monkeypatch.setenv("WANDB_MODE", "online")
    assert [given["mode"] for call, given in fakes.calls if call == "init"] == ["offline", "online"]


def test_a_tracker_that_fails_says_so_once_and_training_goes_on(
    fakes: doubles.FakeTrackers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(**given: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(fakes.wandb, "init", down)
    notes = Notes()
    with tracking("wandb", "r", tmp_path, {}, notes) as tracker:
        tracker.log(1, {"loss": 1.0})
        tracker.log(2, {"loss": 1.0})
    assert notes.said == ["wandb failed (OSError: no route to host); the rest is not tracked"]


def test_an_unknown_tracker_and_one_that_is_not_installed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="expected one of tensorboard, wandb, trackio"):
        require_tracker("mlflow")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"'wandb'.*speech-superbench\[track\]"):
        require_tracker("wandb")


@pytest.mark.slow
def test_probes_are_tracked_and_the_result_is_the_same(
    fakes: doubles.FakeTrackers, tone_corpora: Path, tones: Any, tmp_path: Path
) -> None:
    from superbench import plugins
    from superbench.contract.corpora import Corpora
    from superbench.features.store import Store
    from superbench.runs.job import perform
    from superbench.runs.options import Options

    upstream = plugins.upstream(plugins.parse("fbank_no_cmvn"))
    results = []
    with Store(tmp_path / "store") as store:
        for number, track in enumerate((None, "trackio")):
            out, options = tmp_path / str(number), Options("mini", max_steps=20)
            results.append(
                perform(tones.TONE, upstream, Corpora(tone_corpora), store, out, options, {}, Silence(), track).result
            )
    assert results[0].scores == results[1].scores
    logged = [values for call, values in fakes.calls if call == "log"]
    steps, first = [step for step, _ in logged], logged[0][1]
    assert steps == [10, 20, 20]
    assert {"loss/lr 0.1 seed 0", "dev/lr 0.001 seed 0"} <= set(first)
    assert logged[-1][1] == {"test/accuracy": results[1].scores["accuracy"].value}


@pytest.mark.slow
def test_tensorboard_reads_the_curves_of_a_run(tone_corpora: Path, tones: Any, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with tracking("tensorboard", "r", tmp_path / "events", {}, Notes()) as tracker:
        tracker.log(10, {"dev/lr 0.1 seed 0": 50.0})
        tracker.log(20, {"dev/lr 0.1 seed 0": 60.0})
    events = reader.EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(one.step, one.value) for one in events.Scalars("dev/lr 0.1 seed 0")] == [(10, 50.0), (20, 60.0)]


@pytest.mark.slow
def test_pretraining_is_tracked(fakes: doubles.FakeTrackers, tone_corpora: Path, tmp_path: Path) -> None:
    out = tmp_path / "apc.safetensors"
    superbench.pretrain("apc:mini", tone_corpora / "Tones/train", out, steps=10, track="wandb", device="cpu")
    logged = [values for call, values in fakes.calls if call == "log"]
    assert [step for step, values in logged if "loss/training" in values] == list(range(1, 11))
    assert any("loss/held out" in values for _, values in logged)
