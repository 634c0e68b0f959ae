"""Sound without stored features passes through the model when it is read, once for all probes of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from doubles import Cut, Scissors

from superbench import plugins
from superbench.contract import Audio, Features, Fold, Item
from superbench.contract.corpora import Corpora
from superbench.features.extraction import Extraction, extract
from superbench.features.forward import ForwardOptions
from superbench.features.storage_policy import unstored
from superbench.features.store import Store
from superbench.system.progress import Silence
from superbench.training.probes.experiment import Outcome, experiment
from superbench.training.probes.fold import Conditions
from superbench.training.probes.updates import Point


@pytest.fixture
def world(tones: ModuleType, tone_corpora: Path, tmp_path: Path) -> Callable[..., tuple[tuple[Fold, ...], Extraction]]:
    """Folds and features of a tone task; `crop` cuts its training sound; with `live`, no training features are stored."""

    def make(task: Any, crop: int | None = None, live: bool = False) -> tuple[tuple[Fold, ...], Extraction]:
        fold = task.read(Corpora(tone_corpora))[0]
        items = tuple(replace(item, audio=replace(item.audio, crop=crop)) for item in fold.train.items)
        fold = replace(fold, train=replace(fold.train, items=items))
        loaded = plugins.loaded(plugins.parse("spectrum"), tones.Spectrum(), "cpu")
        audios = [item.audio for split in (fold.train, fold.dev, fold.test) for item in split.items]
        unkept = frozenset(item.audio for item in fold.train.items) if live else frozenset()
        store = Store(tmp_path / "store")
        return (fold,), extract(loaded, audios, task.card.reads, store, "cpu", Silence(), unkept)

    return make


def trained(task: Any, world: tuple[tuple[Fold, ...], Extraction], work: Path, reporter: Any = None) -> Outcome:
    recipe = task.card.recipes["mini"]
    points = tuple(Point(rate, 0) for rate in recipe.learning_rates)
    return experiment(Conditions(task, recipe, points, 2, 17, "cpu", "x", work, reporter or Silence()), *world)


def test_a_fresh_crop_is_drawn_from_the_moment_alone(tmp_path: Path, tones: ModuleType) -> None:
    soundfile.write(tmp_path / "long.wav", np.arange(20_000) / 20_000, 16_000)
    soundfile.write(tmp_path / "short.wav", np.full(3_000, 0.25), 16_000)
    long, short = (Audio(tmp_path / name, crop=4_000) for name in ("long.wav", "short.wav"))
    loaded = plugins.loaded(plugins.parse("spectrum"), tones.Spectrum(), "cpu")
    features = extract(loaded, [long, short], "mean", Store(tmp_path / "store"), "cpu", Silence())
    assert set(features.entries) == {short}
    first, again, later = (features.read([long, short], moment)[0] for moment in ((3, 0), (3, 0), (4, 0)))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert features.samples(long) == 4_000
    assert features.passed_seconds == (3_000 + 3 * 4_000) / 16_000


@pytest.mark.slow
def test_a_crop_lies_anywhere_and_has_its_length(tmp_path: Path, tones: ModuleType) -> None:
    from superbench.data.audio import load

    soundfile.write(tmp_path / "ramp.wav", (np.arange(1_000) / 1_000).astype(np.float32), 16_000, subtype="FLOAT")
    audio = Audio(tmp_path / "ramp.wav", crop=10)
    starts = {round(float(load(audio, np.random.default_rng(n))[0]) * 1_000) for n in range(4_000)}
    assert min(starts) < 5
    assert max(starts) == 990
    assert len(load(audio, np.random.default_rng(0))) == 10
    assert len(load(audio)) == 1_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TONE", "TONES"])
def test_training_on_a_shared_pass_is_training_on_what_is_stored(
    name: str, world: Callable[..., Any], tones: ModuleType, tmp_path: Path
) -> None:
    task = getattr(tones, name)
    stored, passing = world(task), world(task, live=True)
    assert not {item.audio for item in passing[0][0].train.items} & set(passing[1].entries)
    one, other = trained(task, stored, tmp_path / "a"), trained(task, passing, tmp_path / "b")
    assert [p.prediction for p in one.predictions] == [p.prediction for p in other.predictions]
    assert [row["dev"] for row in one.sweep] == [row["dev"] for row in other.sweep]


@pytest.mark.parametrize("name", ["TONE", "TONES"])
@pytest.mark.slow
def test_all_probes_of_a_sweep_share_each_pass(name: str, world: Callable[..., Any], tones: ModuleType, tmp_path: Path) -> None:
    task = getattr(tones, name)
    seconds = []
    for rates in ((1e-2,), (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)):
        recipe = replace(task.card.recipes["mini"], learning_rates=rates)
        card = replace(task.card, recipes={"mini": recipe})
        folds, extraction = world(task, live=True)
        before = extraction.passed_seconds
        trained(replace(task, card=card), (folds, extraction), tmp_path / str(len(rates)))
        seconds.append(extraction.passed_seconds - before)
    assert seconds[0] > 0
    assert seconds[1] == pytest.approx(seconds[0])


@pytest.mark.slow
def test_training_on_fresh_crops_resumes_exactly(world: Callable[..., Any], tones: ModuleType, tmp_path: Path) -> None:
    task = tones.TONE
    undisturbed = trained(task, world(task, crop=2_000), tmp_path / "a")
    with pytest.raises(Cut):
        trained(task, world(task, crop=2_000), tmp_path / "b", Scissors(17))
    resumed = trained(task, world(task, crop=2_000), tmp_path / "b")
    assert resumed.sweep == undisturbed.sweep
    assert resumed.layer_weights == undisturbed.layer_weights
    assert [p.prediction for p in resumed.predictions] == [p.prediction for p in undisturbed.predictions]


@pytest.mark.slow
def test_frames_that_do_not_fit_are_not_kept(
    world: Callable[..., Any], tones: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds, extraction = world(tones.TONES)
    train = {item.audio for item in folds[0].train.items}
    every = set(extraction.lengths)

    def live(room: int, task: Any = tones.TONES) -> set[Audio]:
        monkeypatch.setattr(Store, "room", lambda self: room)
        return set(unstored(task, extraction.request.upstream, extraction.request.upstream.layers, folds, extraction.store))

    assert live(10**9) == set()
    assert live(0) == every
    rest = sum(extraction.samples(audio) for audio in every - train) // 320 * 2 * 17 * 2
    assert live(rest + 1_000) == train
    assert live(0, tones.TONE) == set()


def test_a_batch_of_frames_holds_nothing_of_the_one_before_it(world: Callable[..., Any], tones: ModuleType) -> None:
    from superbench.training.probes import probe

    folds, extraction = world(tones.TONES)
    items = sorted(folds[0].train.items, key=lambda item: -extraction.samples(item.audio))
    examples = probe.FrameExamples(items, extraction, "cpu")
    for chosen in ([0, 1, -1], [-1, 2], [-3, -2, -1, 3]):  # long ones first, and a short one where a long one was
        batch, lengths = examples.batch(chosen)
        frames = [extraction[items[i].audio].float() for i in chosen]
        assert lengths.tolist() == [len(one) for one in frames]
        assert torch.equal(batch, torch.nn.utils.rnn.pad_sequence(frames, batch_first=True))
        assert len(set(lengths.tolist())) > 1


def test_means_that_do_not_fit_into_memory_are_read_from_the_store(
    world: Callable[..., Any], tones: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from superbench.training.probes import probe

    folds, extraction = world(tones.TONE)
    items: tuple[Item, ...] = folds[0].train.items
    held = probe.MeanExamples.of(items, extraction, "cpu").batch([3, 1, 2])[0]
    monkeypatch.setattr(probe, "LARGEST_BYTES", 0)
    passed = extraction.passed_seconds
    lazy = probe.MeanExamples.of(items, extraction, "cpu")
    assert len(lazy.means) == 0
    assert torch.equal(lazy.batch([3, 1, 2])[0], held)
    assert extraction.passed_seconds == passed


def test_one_hidden_state_alone_is_read_from_what_is_stored_for_all(
    world: Callable[..., Any], tones: ModuleType, tmp_path: Path
) -> None:
    folds, extraction = world(tones.TONES)
    items = folds[0].train.items[:3]
    passed = extraction.passed_seconds
    audios = list(extraction.lengths)
    one = extract(extraction.request.upstream, audios, "frames", extraction.store, "cpu", Silence(), layers=(1,))
    assert (one.layers, one.passed_seconds) == (1, 0.0)
    for item in items:
        assert torch.equal(one[item.audio][:, 0], extraction[item.audio][:, 1])
    assert extraction.passed_seconds == passed


def test_of_one_hidden_state_asked_for_alone_nothing_else_is_stored(tmp_path: Path, tones: ModuleType) -> None:
    for number, name in enumerate(("one.wav", "two.wav")):
        soundfile.write(tmp_path / name, 0.1 * np.random.default_rng(number).standard_normal(16_000), 16_000)
    loaded = plugins.loaded(plugins.parse("spectrum"), tones.Spectrum(), "cpu")
    one, two = Audio(tmp_path / "one.wav"), Audio(tmp_path / "two.wav")
    whole = extract(loaded, [one], "frames", Store(tmp_path / "all"), "cpu", Silence())
    store = Store(tmp_path / "store")
    alone = extract(loaded, [one], "frames", store, "cpu", Silence(), layers=(1,))
    assert alone.store.read(alone.entries[one]).shape == (50, 1, 17)
    assert torch.equal(alone[one][:, 0], whole[one][:, 1])
    again = extract(loaded, [one, two], "frames", store, "cpu", Silence(), layers=(1,))
    assert again.passed_seconds == 1.0  # only what was not there
    other = extract(loaded, [one], "frames", store, "cpu", Silence(), layers=(0,))
    assert torch.equal(other[one][:, 0], whole[one][:, 0])


def test_of_some_hidden_states_nothing_else_is_stored(tmp_path: Path, tones: ModuleType) -> None:
    class Three(tones.Spectrum):  # type: ignore[name-defined, misc]
        layers = 3

        def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
            two = super().forward(waves, lengths)
            return Features(torch.cat([two.frames, two.frames[:1] + 1]), two.lengths)

    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    loaded, audio = plugins.loaded(plugins.parse("spectrum"), Three(), "cpu"), Audio(tmp_path / "a.wav")
    store = Store(tmp_path / "store")
    some = extract(loaded, [audio], "frames", store, "cpu", Silence(), layers=(0, 2))
    assert store.read(some.entries[audio]).shape == (50, 2, 17)
    whole = extract(loaded, [audio], "frames", store, "cpu", Silence())
    assert torch.equal(some[audio], whole[audio][:, [0, 2]])
    again = extract(loaded, [audio], "frames", store, "cpu", Silence(), layers=(1, 2))
    assert (again.layers, again.passed_seconds) == (2, 0.0)  # from what is stored for all
    assert torch.equal(again[audio], whole[audio][:, [1, 2]])


class Matrices(torch.nn.Module):
    """One linear layer over segments of 320 samples."""

    sample_rate, hop, layers, dim = 16_000, 320, 1, 32

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(320, 32)
        self.seen: list[torch.dtype] = []

    def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> Features:
        frames = self.linear(waves[:, : waves.shape[1] // 320 * 320].unflatten(1, (-1, 320)))
        self.seen.append(frames.dtype)
        return Features(frames[None], lengths // 320)


def test_half_precision_computes_in_it_and_is_stored_apart(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    model, store, audio = Matrices(), Store(tmp_path / "store"), Audio(tmp_path / "a.wav")
    loaded = plugins.loaded(plugins.parse("spectrum"), model, "cpu")
    single = extract(loaded, [audio], "mean", store, "cpu", Silence())
    half = extract(loaded, [audio], "mean", store, "cpu", Silence(), passing=ForwardOptions(precision="bfloat16"))
    assert model.seen[-2:] == [torch.float32, torch.bfloat16]
    assert half.passed_seconds == single.passed_seconds == 1.0  # neither takes what the other stored
    assert half[audio].dtype == torch.float32
    assert 0 < float((half[audio] - single[audio]).abs().max()) < 0.01


def test_long_sound_may_pass_in_parts(tmp_path: Path, tones: ModuleType) -> None:
    soundfile.write(tmp_path / "long.wav", 0.1 * np.random.default_rng(0).standard_normal(320 * 100), 16_000)
    loaded = plugins.loaded(plugins.parse("spectrum"), tones.Spectrum(), "cpu")
    audio, store = Audio(tmp_path / "long.wav"), Store(tmp_path / "store")
    whole = extract(loaded, [audio], "frames", store, "cpu", Silence())[audio]
    parts = extract(loaded, [audio], "frames", store, "cpu", Silence(), passing=ForwardOptions(320 * 30))[audio]
    assert whole.shape == parts.shape == (100, 2, 17)
    torch.testing.assert_close(parts, whole)  # these frames do not look beyond themselves
    mean = extract(loaded, [audio], "mean", store, "cpu", Silence(), passing=ForwardOptions(320 * 30))[audio]
    torch.testing.assert_close(mean[0], whole.float().mean(0), rtol=1e-3, atol=1e-3)
