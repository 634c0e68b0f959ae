"""The doctor finds violations of the contract before features are extracted."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from types import ModuleType

import pytest
import torch
from torch import nn

from superbench import Audio, BadUpstream, Features, plugins
from superbench.features.forward import forward
from superbench.plugins import Loaded
from superbench.plugins.doctor.examination import Examination, examine


def examined_model(model: object) -> tuple[Examination, dict[str, bool]]:
    report = examine(plugins.loaded(plugins.parse("patient"), model, "cpu"))
    return report, {finding.name: finding.holds for finding in report.findings}


def test_a_model_that_keeps_the_contract_gets_a_certificate(tones: ModuleType) -> None:
    report, holds = examined_model(tones.Spectrum())
    assert all(holds.values()), report.findings
    assert report.certificate()["shape"]["holds"]


def changed(tones: ModuleType, change: Callable[[nn.Module, Features], Features]) -> nn.Module:
    class Changed(tones.Spectrum):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
            return change(self, super().forward(waves, lengths))

    return Changed()


def dropout(model: nn.Module, features: Features) -> Features:
    return Features(nn.functional.dropout(features.frames, 0.5, training=True), features.lengths)


def wrong_layers(model: nn.Module, features: Features) -> Features:
    return Features(features.frames[:1], features.lengths)


def too_long(model: nn.Module, features: Features) -> Features:
    return Features(features.frames.repeat(1, 1, 2, 1), features.lengths * 2)


def one_frame_more(model: nn.Module, features: Features) -> Features:
    noise = torch.full_like(features.frames[:, :, :1], 0.5)
    return Features(torch.cat([features.frames, noise], 2), features.lengths + 1)


def copied_last_frame(model: nn.Module, features: Features) -> Features:
    """The last frame is a copy of the one before."""
    short = features.frames[:, :, :-1]
    return Features(torch.cat([short, short[:, :, -1:]], 2), features.lengths)


def fewer_than_declared(model: nn.Module, features: Features) -> Features:
    return Features(features.frames[:, :, :-1], features.lengths)


def too_few(model: nn.Module, features: Features) -> Features:
    return Features(features.frames[:, :, ::2], (features.lengths + 1) // 2)


def nan(model: nn.Module, features: Features) -> Features:
    return Features(features.frames * float("nan"), features.lengths)


def late_nan(model: nn.Module, features: Features) -> Features:
    frames = features.frames.clone()
    frames[:, :, 500:] = float("nan")
    return Features(frames, features.lengths)


def changes_weights(model: nn.Module, features: Features) -> Features:
    model.scale.data += 1e-3  # type: ignore[union-attr,operator]
    return features


def in_training_mode(model: nn.Module, features: Features) -> Features:
    model.train()
    return features


def depends_on_calls(model: nn.Module, features: Features) -> Features:
    model.calls = getattr(model, "calls", 0) + 1  # type: ignore[assignment,operator]
    return features if model.calls < 12 else Features(features.frames * 2, features.lengths)  # type: ignore[operator]


FAULTS = {
    dropout: ("deterministic", "no module is in training mode"),
    in_training_mode: ("deterministic", "1 module is in training mode, such as the model"),
    wrong_layers: ("shape", r"= \(1, 75, 17\) for 1.5 s; declared 2 layers of 17"),
    too_long: ("length", "11 frames too many: 24 for 4001 samples"),
    one_frame_more: (
        "length",
        "1 frame too many: 51 for 16000 samples, but at a hop of 320 frame 50 would begin at sample 16000",
    ),
    copied_last_frame: ("length", "1 frame too many: of the 12 frames for 4001 samples of noise, the last is empty or a copy"),
    fewer_than_declared: ("call", "lengths contain 37 frames, but it returns 36"),
    too_few: ("length", "too few frames: 6 for 4001 samples"),
    nan: ("finite", r"from 0\.00 s on \(frame 0 of 75\)"),
    late_nan: ("long sound", r"60 s: NaN or infinity in 2500 frames, from 10\.00 s on \(frame 500 of 3000\)"),
    changes_weights: ("frozen", "1 of 1 weights and buffers changed .* such as scale"),
    depends_on_calls: ("frozen", "they depend on earlier calls"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", FAULTS, ids=lambda change: change.__name__)
def test_a_model_that_violates_the_contract_is_refused_with_the_reason(change: Callable, tones: ModuleType) -> None:
    name, reason = FAULTS[change]
    report, holds = examined_model(changed(tones, change))
    assert not holds[name]
    with pytest.raises(BadUpstream, match=f"{name}: .*({reason})"):
        report.certificate()


def test_a_quick_examination_still_finds_faults_after_ten_seconds(tones: ModuleType) -> None:
    loaded = plugins.loaded(plugins.parse("patient"), changed(tones, late_nan), "cpu")
    report = examine(loaded, patience=0.0)
    assert [reason for reason in report.reasons if "12 s: NaN" in reason and "longer sound was not checked" in reason]


@pytest.mark.parametrize(
    ("seconds", "checked", "action"),
    [(40, "30 s: no NaN", "--chunk 30"), (9, "7.5 s: no NaN", "--chunk 7"), (5, "3.75 s: no NaN", "--chunk 3")],
)
def test_long_sound_that_does_not_fit_into_memory_is_no_fault_of_the_model(
    seconds: int, checked: str, action: str, tones: ModuleType
) -> None:
    def greedy(model: nn.Module, features: Features) -> Features:
        if features.frames.shape[1] * features.frames.shape[2] * 320 > seconds * 16_000:
            torch.empty(2**50)
        return features

    report, holds = examined_model(changed(tones, greedy))
    certificate = report.certificate()
    assert not holds["memory for long sound"]
    assert "60 s of sound do not fit into memory" in certificate["memory for long sound"]["measured"]
    assert certificate["memory for long sound"]["action"].endswith(action)
    assert checked in certificate["long sound"]["measured"]


def with_tokens(before: int, after: int) -> Callable[[nn.Module, Features], Features]:
    def change(model: nn.Module, features: Features) -> Features:
        token = torch.full_like(features.frames[:, :, :1], 0.5)
        frames = features.frames[:, :, :-2]  # else there were more frames than the sound has
        lengths = features.lengths.clamp(min=3) - 2
        return Features(torch.cat([token] * before + [frames] + [token] * after, 2), lengths + before + after)

    return change


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (1, 0, r"the first 1 of its frames .* late by 320 samples\. .* Features\(frames\[:, :, 1:\], lengths - 1\)"),
        (1, 1, r"the first 1 and the last 1 of its frames .* Features\(frames\[:, :, 1:-1\], lengths - 2\)"),
        (0, 2, r"the last 2 of its frames .*\)\. Leave them out: Features\(frames\[:, :, :-2\], lengths - 2\)"),
    ],
)
def test_tokens_beside_the_frames_are_found(tones: ModuleType, before: int, after: int, says: str) -> None:
    model = changed(tones, with_tokens(before, after))
    finding = next(one for one in examined_model(model)[0].findings if one.name == "alignment")
    assert not finding.holds
    assert re.search(says, finding.measured), finding.measured


def test_a_token_that_makes_too_many_frames_is_to_be_left_out(tones: ModuleType) -> None:
    def change(model: nn.Module, features: Features) -> Features:
        token = torch.full_like(features.frames[:, :, :1], 0.5)
        return Features(torch.cat([token, features.frames], 2), features.lengths + 1)

    finding = next(found for found in examined_model(changed(tones, change))[0].findings if found.name == "length")
    assert not finding.holds
    assert finding.measured.endswith("Leave the class or prefix tokens out: Features(frames[:, :, 1:], lengths - 1)")


def test_frames_that_come_late_are_found_by_a_click(tones: ModuleType) -> None:
    def late(model: nn.Module, features: Features) -> Features:
        return Features(features.frames.roll(2, 2), features.lengths)

    finding = next(one for one in examined_model(changed(tones, late))[0].findings if one.name == "alignment")
    assert not finding.holds
    assert "late by 640 samples" in finding.measured
    assert "frames[:, :, 2:]" in finding.measured


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["fbank", "mfcc", "apc:untrained", "mockingjay:untrained", "cpc:untrained", "hubert:untrained"]
)
def test_models_without_tokens_are_aligned(name: str) -> None:
    finding = next(
        one for one in examine(plugins.upstream(plugins.parse(name)), seconds=1.0).findings if one.name == "alignment"
    )
    assert finding.holds, finding.measured


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (lambda features: (features.frames, features.lengths), "returned a tuple of 2. Return superbench.Features"),
        (lambda features: [features.frames], "returned a list of 1. Return superbench.Features"),
        (lambda features: features.frames, "returned Tensor. Return superbench.Features"),
        (lambda features: Features(list(features.frames), features.lengths), "`frames` is a list"),
        (lambda features: Features(features.frames[0], features.lengths), r"frames of shape (1, 37, 17)"),
    ],
)
def test_what_is_no_features_is_said(tones: ModuleType, output: Callable, says: str) -> None:
    reasons = examined_model(changed(tones, lambda _, features: output(features)))[0].reasons
    assert len(reasons) == 1
    assert says in reasons[0]


def test_values_beyond_half_precision_are_reported_and_not_refused(tones: ModuleType) -> None:
    report, holds = examined_model(changed(tones, lambda _, features: Features(features.frames * 1e6, features.lengths)))
    assert report.healthy
    assert not holds["range"]
    assert report.actions == ["frames will be stored in single precision"]


def across_time(model: nn.Module, features: Features) -> Features:
    """Group normalisation whose statistics include padding."""
    mean, spread = features.frames.mean(2, keepdim=True), features.frames.std(2, keepdim=True, correction=0)
    return Features((features.frames - mean) / (spread + 1e-3), features.lengths)


def across_batch(model: nn.Module, features: Features) -> Features:
    return Features(features.frames / (features.frames.std() + 1e-3), features.lengths)


@pytest.mark.parametrize(
    ("change", "mates", "action"),
    [
        (across_time, "equal", "only sounds of equal length will share a batch"),
        (across_batch, "none", "each sound will be a batch of its own"),
        (lambda _, features: features, "any", None),
    ],
)
def test_extraction_forms_batches_as_the_doctor_found(
    change: Callable, mates: str, action: str | None, tones: ModuleType
) -> None:
    model = changed(tones, change)
    report, _ = examined_model(model)
    assert (report.batching, report.actions) == (mates, [action] if action else [])
    assert report.certificate()["batch mates"].get("action") == (action if mates == "equal" else None)
    loaded = replace(plugins.loaded(plugins.parse("patient"), model, "cpu"), batching=report.batching)
    calls: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    torch.manual_seed(0)
    waves = [torch.randn(n) for n in (4000, 8000, 4000, 6000, 8000)]
    audios = [Audio(Path(f"{n}")) for n in range(5)]
    together = forward(loaded, waves, audios, "frames", "cpu")
    assert calls == {"any": [5], "equal": [2, 2, 1], "none": [1] * 5}[mates]
    for wave, audio, batched in zip(waves, audios, together, strict=True):
        assert torch.allclose(forward(loaded, [wave], [audio], "frames", "cpu")[0], batched, atol=1e-3, rtol=1e-3)


def test_a_model_without_frames_for_a_short_sound_is_an_error_that_names_the_file(tones: ModuleType) -> None:
    model = changed(tones, lambda _, features: Features(features.frames[:, :, :0], features.lengths * 0))
    loaded = plugins.loaded(plugins.parse("patient"), model, "cpu")
    with pytest.raises(BadUpstream, match=r"returns no frame for short\.wav"):
        forward(loaded, [torch.ones(100)], [Audio(Path("short.wav"))], "mean", "cpu")


def test_two_examinations_give_the_same_certificate(tones: ModuleType) -> None:
    first, second = examined_model(tones.Spectrum())[0], examined_model(tones.Spectrum())[0]
    assert first.certificate() == second.certificate()
    assert {"speed", "memory"} & {finding.name for finding in first.findings} == {"speed", "memory"}
    assert not {"speed", "memory"} & set(first.certificate())
    stride = next(finding.value for finding in first.findings if finding.name == "length")
    assert stride == 320


@pytest.mark.slow
def test_peak_memory_is_that_of_the_block() -> None:
    """Measured in a new process, since a process that has freed memory uses it again."""
    code = """
import torch
from superbench.system.memory import peak
with peak("cpu") as found:
    torch.ones(100 * 2**18).sum()  # 100 MiB
print(found["peak"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 90 * 2**20 < int(done.stdout) < 400 * 2**20


def test_a_good_model_is_examined_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from superbench.plugins.doctor import examination

    loaded = plugins.upstream(plugins.parse("fbank"))
    first = examination.examined(loaded, "cpu", tmp_path)
    calls: list[str] = []

    def refuse(upstream: Loaded, device: str, patience: float) -> examination.Examination:
        calls.append(upstream.revision)
        return first

    monkeypatch.setattr(examination, "examine", refuse)
    assert examination.examined(loaded, "cpu", tmp_path) == first
    assert not calls
    examination.examined(replace(loaded, revision="another"), "cpu", tmp_path)
    for path in tmp_path.glob("*.json"):
        path.write_text("[{")
    examination.examined(loaded, "cpu", tmp_path)
    assert calls == ["another", loaded.revision]


def test_workers_that_start_together_examine_a_model_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from superbench.plugins.doctor import examination

    loaded, workers = plugins.upstream(plugins.parse("fbank")), 3
    together, calls = Barrier(workers), []

    def slowly(upstream: Loaded, device: str, patience: float) -> examination.Examination:
        calls.append(upstream.alias)
        time.sleep(0.3)  # so that the others ask while this one examines
        return examination.Examination(upstream.alias, ())

    def worker(number: int) -> examination.Examination:
        together.wait()
        return examination.examined(loaded, "cpu", tmp_path / "certificates")

    monkeypatch.setattr(examination, "examine", slowly)
    with ThreadPoolExecutor(workers) as threads:
        found = list(threads.map(worker, range(workers)))
    assert calls == ["fbank"]
    assert found == [found[0]] * workers
