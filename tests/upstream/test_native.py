"""The native upstreams keep the contract, have the published sizes, and train on the published objectives."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor, nn

from superbench import CommandError, plugins
from superbench.plugins import Loaded
from superbench.plugins.checkpoints import fresh_model, load_model, save_model
from superbench.plugins.doctor.examination import examine
from superbench.system.progress import Silence
from superbench.training.pretraining.pretrain import pretrain
from upstream.apc import Apc
from upstream.cpc import Cpc
from upstream.hubert import Hubert
from upstream.mockingjay import Mockingjay
from upstream.speech_gpt import SpeechGpt
from upstream.tera import Tera
from upstream.vq_apc import VqApc

FAMILIES: list[Any] = [Apc, VqApc, Cpc, SpeechGpt, Mockingjay, Tera, Hubert]
SPECTRA = ["fbank", "fbank_no_cmvn", "mfcc"]


def built(source: Any) -> Loaded:
    """A spectral upstream by its name, or the untrained control of a family."""
    if isinstance(source, str):
        return plugins.upstream(plugins.parse(source))
    model: Any = fresh_model(source, "mini", 0).eval().requires_grad_(False)
    return Loaded("x", plugins.parse("x:untrained"), model, "0", 0, model.hop, model.layers, model.dim)


def sweeps(count: int = 4, samples: int = 24_000) -> Tensor:
    """Rising tones, each from another pitch, so that later frames are easy to predict."""
    time = torch.arange(samples) / 16_000
    waves = torch.stack([torch.sin(2 * torch.pi * (300 + 200 * i) * time * (1 + time)) * 0.1 for i in range(count)])
    return waves + 0.01 * torch.randn(waves.shape)


def ready(family: Any, seed: int = 0) -> Any:
    """A mini model, prepared on sweeps if its family has `prepare`."""
    torch.manual_seed(seed)
    model = family(family.configs["mini"])
    if hasattr(model, "prepare"):
        with torch.no_grad():
            model.prepare(list(sweeps(8)), seed, None)
    return model


@pytest.mark.parametrize("source", [*SPECTRA, *FAMILIES])
@pytest.mark.slow
def test_every_check_of_the_doctor_holds(source: Any) -> None:
    report = examine(built(source))
    assert [finding for finding in report.findings if not finding.holds] == []


@pytest.mark.slow
@pytest.mark.parametrize("source", [*SPECTRA, *FAMILIES])
@pytest.mark.parametrize("samples", [1, 399, 400, 719, 720, 16_000])
def test_the_number_of_frames_follows_the_length_and_padding_is_zero(source: Any, samples: int) -> None:
    loaded = built(source)
    generator = torch.Generator().manual_seed(0)
    waves = torch.randn(2, 16_000, generator=generator) * 0.1
    waves[0, samples:] = 0
    with torch.inference_mode():
        features = loaded.model(waves, torch.tensor([samples, 16_000]))
    length = int(features.lengths[0])
    assert length >= 1
    assert abs(length - round(samples / loaded.hop)) < 5
    assert not features.frames[:, 0, length:].any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "million", "states", "stride", "left_out"),
    [
        (Apc, 4.11, 3, 10, ()),
        (VqApc, 4.63, 3, 10, ()),
        (Cpc, 1.84, 2, 10, ("predictors",)),
        (Tera, 21.33, 4, 10, ("reconstruct",)),
        (Mockingjay, 85.12, 13, 10, ("reconstruct",)),
        (Hubert, 94.68, 13, 20, ()),
        (SpeechGpt, 85.82, 13, 20, ()),  # no published figure: GPT-2 small with units as inputs and outputs
    ],
)
def test_base_has_the_published_number_of_weights_and_states(
    family: Any, million: float, states: int, stride: int, left_out: tuple[str, ...]
) -> None:
    """Published figures count all weights of the checkpoint; those of Mockingjay, TERA and CPC hold no pretraining head."""
    model = family(family.configs["base"])
    weights = sum(p.numel() for name, p in model.named_parameters() if not name.startswith(left_out or "-"))
    assert weights / 1e6 == pytest.approx(million, rel=0.002)
    assert (model.layers, model.hop / 16) == (states, stride)


@pytest.mark.parametrize(
    ("family", "updates", "share"),
    [
        (Apc, 20, 0.9),
        (VqApc, 50, 0.95),  # a codebook needs more updates
        (Cpc, 20, 0.9),
        (SpeechGpt, 20, 0.9),
        (Mockingjay, 50, 0.9),
        (Tera, 50, 0.9),
        (Hubert, 20, 0.9),
    ],
)
@pytest.mark.slow
def test_the_loss_falls(family: Any, updates: int, share: float) -> None:
    model, waves = ready(family), sweeps()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(updates):
        loss = model.loss(waves, torch.full((4,), 24_000))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < share * sum(losses[:5])


@pytest.mark.parametrize("family", [Apc, VqApc])
def test_recurrent_predictors_do_not_see_the_future(family: Any) -> None:
    model, spectrum = ready(family).eval(), torch.randn(1, 60, 160)
    changed = torch.cat([spectrum[:, :40], torch.randn(1, 20, 160)], dim=1)  # given as a spectrum: waves are normalised whole
    with torch.inference_mode():
        before, after = (model.predicted(model.states(inputs)[-1])[0] for inputs in (spectrum, changed))
    assert torch.equal(before[:40], after[:40])
    assert not torch.allclose(before[40], after[40])


@pytest.mark.slow
@pytest.mark.parametrize("family", [Cpc, SpeechGpt])
def test_causal_models_do_not_see_the_future(family: Any) -> None:
    model, tones = ready(family).eval(), sweeps(4, 16_000)
    wave, changed = tones[:1], torch.cat([tones[:1, :8_000], tones[3:, 8_000:]], dim=1)
    with torch.inference_mode():
        before, after = (model(inputs, torch.tensor([16_000])).frames[:, 0] for inputs in (wave, changed))
    assert torch.equal(before[:, :23], after[:, :23])  # frame 23 of 20 ms begins at sample 7360 and may reach beyond 8000
    assert not torch.allclose(before[:, 26], after[:, 26])


@pytest.mark.slow
def test_the_speech_gpt_predicts_a_unit_from_those_before_it_alone() -> None:
    model = ready(SpeechGpt).eval()
    units = torch.randint(0, 200, (1, 30))
    changed = units.clone()
    changed[0, 20:] = (changed[0, 20:] + 1) % 200
    with torch.inference_mode():
        before, after = (model.predict(model.states(inputs)[-1])[0] for inputs in (units, changed))
    assert torch.equal(before[:21], after[:21])  # the state of BOS comes first: row 20 predicts unit 20
    assert not torch.allclose(before[21], after[21])


@pytest.mark.slow
@pytest.mark.parametrize("family", [Mockingjay, Tera])
def test_only_masked_cells_enter_the_loss(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ready(family)
    mel, frames = model.mel(sweeps(), torch.full((4,), 24_000))
    seen, hidden = model.corrupt(mel, torch.ones(mel.shape[:2], dtype=torch.bool))
    monkeypatch.setattr(model, "corrupt", lambda *_: (seen, hidden))
    waves, lengths = sweeps(), torch.full((4,), 24_000)
    monkeypatch.setattr(model, "mel", nn.Module())
    monkeypatch.setattr(model.mel, "forward", lambda *_: (mel, frames), raising=False)
    for wrong, expected in ((1 - hidden, 0.0), (hidden, 1.0)):
        reconstruct = nn.Module()
        reconstruct.forward = lambda _, wrong=wrong: mel + wrong  # type: ignore[method-assign, assignment, misc]
        model.reconstruct = reconstruct
        assert float(model.loss(waves, lengths).detach()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_only_masked_frames_enter_the_loss_of_hubert(monkeypatch: pytest.MonkeyPatch) -> None:
    model, waves, lengths = Hubert(replace(Hubert.configs["mini"], alpha=1.0)), sweeps(), torch.full((4,), 24_000)
    assert Hubert.configs["base"].alpha == 1.0
    hidden = torch.zeros(4, 74, dtype=torch.bool)
    hidden[:, 20:30] = True
    monkeypatch.setattr(model, "spans", lambda _: hidden)
    units = torch.randint(0, 100, (4, 74))

    def loss(targets: Tensor) -> float:
        monkeypatch.setattr(model, "targets", lambda *_: targets)
        return float(model.loss(waves, lengths).detach())

    assert loss(units) == loss(torch.where(hidden, units, (units + 1) % 100))
    assert loss(units) != loss(torch.where(hidden, (units + 1) % 100, units))


def test_hubert_masks_spans_within_the_sound_only() -> None:
    torch.manual_seed(0)
    model = ready(Hubert)
    inside = torch.arange(300) < torch.tensor([300, 40, 3])[:, None]
    hidden = model.spans(inside)
    assert not (hidden & ~inside).any()
    assert hidden.any(1).all()
    assert 0.24 < float(hidden[0].float().mean()) < 0.44  # 1 - 0.92 ** 5 = 0.34


@pytest.mark.slow
def test_the_second_iteration_predicts_units_of_its_teachers_features(tmp_path: Path) -> None:
    teacher = built(Hubert).model
    model: Any = fresh_model(Hubert, "mini", 1)
    with torch.no_grad():
        model.prepare(list(sweeps(8)), 0, teacher)
    waves, lengths = sweeps(), torch.full((4,), 24_000)
    expected = model.units(teacher(waves, lengths).frames[2])  # four states: the middle is the output of the second layer
    assert torch.equal(model.targets(waves, lengths, 74), expected)
    assert len(expected.unique()) > 3
    model.loss(waves, lengths).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert not any("teacher" in name for name in model.state_dict())
    save_model(tmp_path / "two.safetensors", model, family="hubert", size="mini", facts={})
    reloaded: Any = load_model(Hubert, tmp_path / "two.safetensors", "hubert")
    assert torch.equal(reloaded.units.centroids, model.units.centroids)
    with pytest.raises(CommandError, match="--teacher"):
        reloaded.loss(waves, lengths)


@pytest.mark.slow
@pytest.mark.parametrize("family", [SpeechGpt, Hubert])
def test_units_come_from_the_sound_and_the_seed_alone(family: Any) -> None:
    first, repeated, other_seed = (ready(family, seed).units for seed in (0, 0, 1))
    assert torch.equal(first.centroids, repeated.centroids)
    assert not torch.equal(first.centroids, other_seed.centroids)


def test_k_means_finds_separate_clusters_and_accepts_fewer_points_than_units() -> None:
    from upstream.shared.units import Units

    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    clusters = [centre + 0.1 * torch.randn(50, 2) for centre in centres]
    units = Units(3, 2)
    units.fit(clusters, seed=0)
    names = [units(cluster).unique().tolist() for cluster in clusters]
    assert sorted(names) == [[0], [1], [2]]
    more_units_than_points = Units(5, 2)
    more_units_than_points.fit([centres], seed=0)
    assert sorted(more_units_than_points(centres).tolist()) == [0, 1, 2]


class InterruptTraining(Silence):
    """A reporter that interrupts training after some updates."""

    def __init__(self, after: int) -> None:
        self.after = after

    def advance(self, stage: str, done: float, total: float) -> None:
        if done == self.after:
            raise KeyboardInterrupt


def speech(folder: Path, factor: float = 1.0) -> Path:
    folder.mkdir()
    torch.manual_seed(0)
    for i, wave in enumerate(sweeps(6, 12_000)):
        soundfile.write(folder / f"{i}.wav", (wave * factor).numpy(), 16_000)
    return folder


@pytest.mark.parametrize("family", [VqApc, Cpc, SpeechGpt, Hubert])
@pytest.mark.slow
def test_interrupted_training_ends_with_the_same_weights_which_determine_the_revision(tmp_path: Path, family: Any) -> None:
    name = f"{inspect.getfile(family)}:{family.__name__}"
    audio = speech(tmp_path / "audio")

    def train(out: str, seed: int = 0, reporter: Any = None) -> dict[str, Tensor]:
        pretrain(name, audio, tmp_path / out, steps=4, seed=seed, device="cpu", reporter=reporter or Silence())
        return dict(load_model(family, tmp_path / out, name).state_dict())

    uninterrupted = train("whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train("killed.safetensors", reporter=InterruptTraining(2))
    resumed = train("killed.safetensors")
    assert uninterrupted.keys() == resumed.keys()
    assert all(torch.equal(uninterrupted[key], resumed[key]) for key in uninterrupted)
    train("other.safetensors", seed=1)
    revisions = {out: plugins.upstream(plugins.parse(f"{name}@{tmp_path / out}.safetensors")).revision for out in
                 ("whole", "killed", "other")}  # fmt: skip
    assert revisions["whole"] == revisions["killed"] != revisions["other"]
