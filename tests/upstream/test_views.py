"""Models trained on views or on a teacher: sizes, training, augmentation and saved weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from superbench import CommandError, Features, plugins
from superbench.plugins.checkpoints import fresh_model, load_model, save_model
from superbench.plugins.doctor.examination import examine
from upstream.byol import Byol
from upstream.distil import Distil
from upstream.hubert import Hubert
from upstream.shared import views
from upstream.simclr import SimClr, contrast

FAMILIES: dict[str, Any] = {"simclr": SimClr, "byol": Byol, "distil": Distil}


class Spectrum(nn.Module):
    """A teacher: three states of bands of the spectrum, one frame every 10 ms."""

    sample_rate, hop, layers, dim = 16_000, 160, 3, 20

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        frames = nn.functional.pad(waves, (0, 240)).unfold(1, 400, 160)
        bands = torch.fft.rfft(frames).abs()[..., 1:].unflatten(-1, (20, 10)).mean(-1)
        return Features(torch.stack([bands, bands.log1p(), (bands + 1e-2).log()]), (lengths // 160).clamp(min=1))


def utterances(count: int, seconds: float = 1.5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Six tones each, of random pitch, that swell and fade at random paces, in a little noise; of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * 16_000)) / 16_000
    pitch = 150 * 40 ** torch.rand(count, 6, 1, generator=generator)
    pace = 2 + 8 * torch.rand(count, 6, 1, generator=generator)
    swell = (1 + torch.sin(2 * torch.pi * pace * time)).square()
    waves = (swell * torch.sin(2 * torch.pi * pitch * time)).mean(1) * 0.1
    waves = waves + 0.01 * torch.randn(waves.shape, generator=generator)
    lengths = torch.randint(len(time) // 2, len(time) + 1, (count,), generator=generator)
    lengths[0] = len(time)
    return waves * (torch.arange(len(time))[None] < lengths[:, None]), lengths


SMALL: dict[str, dict[str, Any]] = {
    "simclr": {"width": 64, "layers": 1, "heads": 2, "feedforward": 128, "piece": 0.8, "loud": 20.0, "bands": 0.1},
    "byol": {"channels": 8, "width": 64, "hidden": 64, "projection": 32},
    "distil": {"channels": 16, "width": 64, "layers": 1, "heads": 2, "feedforward": 128},
}


def prepared(name: str) -> Any:
    """A model smaller than `mini`, prepared for training."""
    torch.manual_seed(0)
    model: Any = FAMILIES[name](replace(FAMILIES[name].configs["mini"], **SMALL[name]))
    model.prepare([], 0, Spectrum() if name == "distil" else None)
    return model


def train(model: Any, steps: int, sets: int = 1000) -> list[float]:
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=3e-3)
    losses = []
    model.train()
    for step in range(steps):
        loss = model.loss(*utterances(16, 1.0, seed=step % sets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if hasattr(model, "after_update"):
            model.after_update()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "million", "states", "dim", "hop"),
    [("simclr", 21.33, 4, 768, 160), ("byol", 5.32, 2, 2048, 320), ("distil", 23.49, 3, 768, 320)],
)
def test_base_has_the_published_size(name: str, million: float, states: int, dim: int, hop: int) -> None:
    family = FAMILIES[name]
    model = family(family.configs["base"])
    assert sum(weight.numel() for weight in model.parameters()) / 1e6 == pytest.approx(million, abs=0.005)
    assert (model.layers, model.dim, model.hop) == (states, dim, hop)


def test_byol_has_as_many_weights_as_the_published_encoder() -> None:
    from s3prl.upstream.byol_a.byol_a import AudioNTT2020

    published = AudioNTT2020(n_mels=64, d=2048)
    ours = Byol(Byol.configs["base"])
    assert sum(weight.numel() for weight in ours.parameters()) == sum(weight.numel() for weight in published.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_check_of_the_doctor_holds(name: str) -> None:
    report = examine(plugins.upstream(plugins.parse(f"{name}:untrained")))
    assert [finding for finding in report.findings if not finding.holds] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("samples", [1, 399, 400, 719, 720, 880, 16_000])
def test_the_number_of_frames_follows_the_length_and_padding_is_zero(name: str, samples: int) -> None:
    model = plugins.upstream(plugins.parse(f"{name}:untrained")).model
    waves = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    waves[0, samples:] = 0
    with torch.inference_mode():
        features = model(waves, torch.tensor([samples, 16_000]))
        alone = model(waves[:1, :samples], torch.tensor([samples]))
    length = int(features.lengths[0])
    assert length == int(alone.lengths[0]) >= 1
    assert abs(length - round(samples / model.hop)) < 5
    assert not features.frames[:, 0, length:].any()
    assert torch.allclose(features.frames[:, 0, :length], alone.frames[:, 0, :length], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_saved_checkpoint_has_the_weights_of_an_untrained_model(name: str, tmp_path: Path) -> None:
    model = prepared(name)
    train(model, 2)
    save_model(tmp_path / "x.safetensors", model, family=name, size="mini", facts={})
    loaded = load_model(FAMILIES[name], tmp_path / "x.safetensors", name)
    assert loaded.state_dict().keys() == FAMILIES[name](model.config).state_dict().keys()
    waves, lengths = utterances(3)
    with torch.inference_mode():
        assert torch.equal(loaded.eval()(waves, lengths).frames, model.eval()(waves, lengths).frames)


def nearest(model: SimClr) -> float:
    """Share of 16 utterances whose first view is nearest to their own second view."""
    waves, lengths = utterances(16, 1.0)
    torch.manual_seed(1)
    with torch.no_grad():
        first, second = (nn.functional.normalize(model.eval().embedding(*model.view(waves, lengths)), dim=1) for _ in range(2))
    return float(((first @ second.T).argmax(1) == torch.arange(16)).float().mean())


@pytest.mark.slow
def test_simclr_brings_views_of_an_utterance_together() -> None:
    model = prepared("simclr")
    before = nearest(model)
    losses = train(model, 60, sets=1)
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
    assert nearest(model) > 0.8 > 0.5 > before


def test_contrast_is_the_published_loss() -> None:
    """Two orthogonal utterances with equal views: each vector has its positive at cosine 1 and two negatives at cosine 0."""
    vectors = torch.eye(2)
    assert float(contrast(vectors, 3 * vectors, 0.5)) == pytest.approx(-2 + float(torch.tensor([2.0, 0.0, 0.0]).logsumexp(0)))


@pytest.mark.slow
def test_byol_learns_and_does_not_collapse() -> None:
    model = prepared("byol")
    losses = train(model, 40)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    waves, lengths = utterances(32, seed=10_000)
    with torch.no_grad():
        embedded = nn.functional.normalize(model.eval().embedding(model.encoder, *model.spectrum(waves, lengths)), dim=1)
        untrained = prepared("byol").eval()
        initial = nn.functional.normalize(untrained.embedding(untrained.encoder, *untrained.spectrum(waves, lengths)), dim=1)
    assert float(embedded.var(0).sum()) > 0.5 * float(initial.var(0).sum()) > 0


def test_the_target_of_byol_is_a_moving_average_without_a_gradient() -> None:
    model = prepared("byol")
    online = dict(model.encoder.named_parameters())["second.weight"]
    goal = dict(model.scaffold["target"]["encoder"].named_parameters())["second.weight"]
    assert torch.equal(online, goal)
    with torch.no_grad():
        online += 1.0
    model.after_update()
    average = model.config.average
    assert torch.allclose(goal, online - average, atol=1e-6)
    model.loss(*utterances(4, 1.0)).backward()
    assert goal.grad is None
    assert online.grad is not None


@pytest.mark.slow
def test_the_student_approaches_its_teacher() -> None:
    model = prepared("distil")
    waves, lengths = utterances(16, seed=10_000)

    def distance() -> float:
        model.eval()
        with torch.no_grad():
            states, frames = model.states(waves, lengths)
            goals, frames = model.goals(waves, lengths, frames)
            predicted = model.scaffold[-1](states[-1][:, : goals.shape[2]])
            inside = torch.arange(goals.shape[2])[None] < frames[:, None]
            return float((predicted - goals[-1]).abs()[inside].mean() / goals[-1].abs()[inside].mean())

    before = distance()
    losses = train(model, 40)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert distance() < 0.7 * before


def test_targets_of_a_teacher_with_shorter_frames_are_aligned_in_time() -> None:
    """Frame t of the student (20 ms) meets frame 2 t of the teacher (10 ms)."""
    model = prepared("distil")
    waves, lengths = utterances(2)
    goals, frames = model.goals(waves, lengths, torch.tensor([50, 40]))
    taught = Spectrum()(waves, lengths).frames
    assert goals.shape == (2, 2, 50, 20)
    assert frames.tolist() == [50, min(40, -(-int(lengths[1]) // 320))]
    assert torch.equal(goals[1], taught[2][:, :100:2])


def test_the_weights_of_the_student_do_not_include_its_teacher() -> None:
    model = prepared("distil")
    assert not any("teacher" in key for key in model.state_dict())
    assert model.teacher.dim == 20
    assert [head[-1].out_features for head in model.scaffold] == [20, 20]


def test_a_student_requires_a_teacher_and_other_families_refuse_one() -> None:
    with pytest.raises(CommandError, match="--teacher apc@"):
        fresh_model(Distil, "mini", 0).prepare([], 0, None)
    for family in (SimClr, Byol):
        with pytest.raises(CommandError, match="leave out --teacher"):
            fresh_model(family, "mini", 0).prepare([], 0, Spectrum())


def test_another_utterance_is_mixed_in_at_the_requested_level() -> None:
    torch.manual_seed(0)
    waves, lengths = torch.randn(8, 16_000), torch.full((8,), 16_000)
    mixed = views.mixed(waves, lengths, 10.0, 10.0) - waves
    ratio = 10 * (waves.square().sum(1) / mixed.square().sum(1)).log10()
    assert torch.allclose(ratio, torch.full((8,), 10.0), atol=1e-3)
    assert torch.equal(views.mixed(waves[:1], lengths[:1], 0.0, 0.0), waves[:1])


def test_a_crop_is_part_of_its_utterance() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([1000, 10, 1, 700])
    waves = torch.arange(1.0, 1001.0).repeat(4, 1) * (torch.arange(1000)[None] < lengths[:, None])
    pieces, kept = views.cropped(waves, lengths, 0.5)
    for piece, length, own in zip(pieces, kept.tolist(), lengths.tolist(), strict=True):
        assert max(own // 2, 1) <= length <= own
        assert torch.equal(piece[:length], torch.arange(float(piece[0]), float(piece[0]) + length))
        assert float(piece[0]) >= 1
        assert float(piece[length - 1]) <= own
        assert not piece[length:].any()


def test_masks_set_frames_and_bands_to_zero_and_leave_the_rest() -> None:
    torch.manual_seed(0)
    mel, frames = torch.ones(64, 100, 160), torch.full((64,), 80)
    seen = views.masked(mel, frames, 80, 2, 0.1, 0.2)
    rows, bands = (seen == 0).all(2), (seen == 0).all(1)
    assert torch.equal(seen == 0, rows[:, :, None] | bands[:, None])
    assert 2 < float(rows[:, :80].sum(1).float().mean()) < 12  # two spans, each of 0 to 8 of 80 frames
    assert not rows[:, 80:].any()
    assert int(bands.sum(1).max()) <= 2 * 17
    assert torch.equal(bands[:, :80], bands[:, 80:])


def test_a_window_of_the_spectrums_own_size_changes_nothing() -> None:
    torch.manual_seed(0)
    mel, frames = torch.randn(3, 40, 64), torch.tensor([40, 30, 2])
    mel = mel * (torch.arange(40)[None] < frames[:, None])[..., None]
    assert torch.allclose(views.resized(mel, frames, (1.0, 1.0), (1.0, 1.0)), mel, atol=1e-4)


def test_a_window_of_half_the_frames_halves_the_speed() -> None:
    torch.manual_seed(0)
    mel = torch.arange(40.0)[None, :, None].expand(1, 40, 8)
    seen = views.resized(mel, torch.tensor([40]), (0.5, 0.5), (1.0, 1.0))[0, 1:-1, 0]
    assert torch.allclose(seen.diff(), torch.full((37,), 0.5), atol=1e-4)


def test_the_student_is_initialised_from_teacher_weights_of_the_same_shape() -> None:
    """A HuBERT of three layers: its convolutions and first two layers, but not the one of another width."""
    sizes = {"channels": 16, "width": 64, "heads": 2, "feedforward": 128}
    torch.manual_seed(1)
    teacher = Hubert(replace(Hubert.configs["mini"], **sizes, layers=3))
    with torch.no_grad():
        teacher.norm.weight.fill_(0.5)
    student = Distil(replace(Distil.configs["mini"], **sizes))
    student.prepare([], 0, teacher)
    weights, taught = student.state_dict(), teacher.state_dict()
    same = {key for key in weights if key in taught and torch.equal(weights[key], taught[key])}
    assert {key for key in weights if not key.startswith("scaffold.")} == same
    wider = Distil(replace(Distil.configs["mini"], **sizes | {"feedforward": 96}))
    before = {key: value.clone() for key, value in wider.state_dict().items()}
    wider.prepare([], 0, teacher)
    after = wider.state_dict()
    assert torch.equal(after["project.weight"], taught["project.weight"])
    assert all(torch.equal(after[key], value) for key, value in before.items() if key.startswith("blocks."))
