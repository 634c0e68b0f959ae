"""KS: which side of the split a file is on, and how often its class is drawn: `s3prl.downstream.speech_commands`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import WeightedRandomSampler

from downstream.keyword_spotting import CLASSES, TASK, side
from superbench import Audio, Item, Split
from superbench.contract import Recipe
from superbench.training.probes.batches import BatchPlan, Traits

Reference = Callable[[str], Any]
WORDS = ("yes", "stop", "bed", "wow")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """2 000 empty files in four words of random speakers, some with odd names, and two noise files."""
    draw = random.Random(0)
    for word in (*WORDS, "_background_noise_"):
        (tmp_path / word).mkdir()
    for number in range(2_000):
        (tmp_path / draw.choice(WORDS) / f"{draw.getrandbits(32):08x}_nohash_{number % 5}.wav").touch()
    for odd in ("a_nohash_b_nohash_1.wav", "plain.wav", "_nohash_.wav", "x_nohash_.wav"):
        (tmp_path / "yes" / odd).touch()
    for noise in ("pink.wav", "white.wav"):
        (tmp_path / "_background_noise_" / noise).touch()
    return tmp_path


def test_every_file_is_on_the_same_side(reference: Reference, archive: Path) -> None:
    train, dev = reference("downstream.speech_commands.expert").split_dataset(archive)
    theirs = {path: "train" for _, path in train} | {path: "dev" for _, path in dev}
    ours = {path: side(path.name) for word in WORDS for path in (archive / word).iterdir()}
    assert {path: theirs.get(path, "unused") for path in ours} == ours
    shares = Counter(ours.values())
    assert 100 < shares["dev"] < 300
    assert 100 < shares["unused"] < 300


def test_classes_have_the_same_order_and_other_words_are_unknown(reference: Reference, archive: Path) -> None:
    module = reference("downstream.speech_commands.dataset")
    assert list(CLASSES) == module.CLASSES
    train, _ = reference("downstream.speech_commands.expert").split_dataset(archive)
    dataset = module.SpeechCommandsDataset(train, speech_commands_root=str(archive))
    assert {name for name, path in dataset.data if path.parent.name in ("bed", "wow")} == {"_unknown_"}
    assert Counter(name for name, _ in dataset.data)["_silence_"] == 2


def test_items_are_drawn_with_the_same_probabilities(reference: Reference, archive: Path) -> None:
    """Draws cannot be equal (theirs are of torch's generator); item by item the chances can: 1 / (classes · class size)."""
    train, _ = reference("downstream.speech_commands.expert").split_dataset(archive)
    dataset = reference("downstream.speech_commands.dataset").SpeechCommandsDataset(train, speech_commands_root=str(archive))
    weights = np.array(dataset.sample_weights) / sum(dataset.sample_weights)
    names = [name for name, _ in dataset.data]
    recipe = Recipe(steps=1, batch=32, evaluate_every=1, learning_rates=(1e-3,), sampler="balanced", drop_last=True)
    plan = BatchPlan(recipe, Traits([1] * len(names), [1] * len(names), names))
    epochs = 200
    drawn = np.concatenate([plan(update)[0] for update in range(epochs * plan.batches_per_epoch)])
    assert plan.batches_per_epoch == len(names) // 32
    counts = np.bincount(drawn, minlength=len(names))
    classes = np.array(names)
    for name in set(names):
        of_class = classes == name
        assert counts[of_class].sum() / len(drawn) == pytest.approx(weights[of_class].sum(), abs=0.005)
    silence = counts[classes == "_silence_"] / len(drawn)
    assert silence == pytest.approx(weights[classes == "_silence_"], abs=0.005)


def test_the_official_recipe_draws_balanced_full_batches() -> None:
    recipe = TASK.card.recipes["superb"]
    assert (recipe.sampler, recipe.batch, recipe.drop_last) == ("balanced", 32, True)


def test_the_sampled_dev_is_what_their_sampler_draws(reference: Reference, archive: Path) -> None:
    """The rule to the item: weights N / count, N draws with replacement, by torch's generator from the seed 1337. In a run of
    theirs the loader draws a number first, and the list has the folder's own order, so their draws are of this kind.
    """
    _, dev = reference("downstream.speech_commands.expert").split_dataset(archive)
    dataset = reference("downstream.speech_commands.dataset").SpeechCommandsDataset(dev, speech_commands_root=str(archive))
    count = len(dataset.data)
    sampler = WeightedRandomSampler(dataset.sample_weights, count, generator=torch.Generator().manual_seed(1337))
    for name in ("pink.wav", "white.wav"):
        soundfile.write(archive / "_background_noise_" / name, np.zeros(40_000), 16_000)
    items = [Item(f"{path.parent.name}/{path.name}", Audio(path), label, (path.name,)) for label, path in dataset.data]
    recipe = replace(TASK.card.recipes["superb"], variants=("sampled-dev",))
    drawn = TASK.prepare(Split("dev", tuple(items)), 320, recipe).items
    assert [item.id.rpartition("@")[0] for item in drawn] == [items[place].id for place in sampler]
    assert len({item.id for item in drawn}) == count
    counts = Counter(item.label for item in drawn)
    assert set(counts) == {"yes", "stop", "_unknown_", "_silence_"}
    assert max(counts.values()) < 2 * min(counts.values())  # two noise files are drawn as often as a hundred words
    silence = [item.audio for item in drawn if item.label == "_silence_"]
    assert len({audio.start for audio in silence}) > len(silence) // 2  # a crop of its own for every draw, as theirs
    assert {audio.end - audio.start for audio in silence if audio.end} == {16_000}


def test_every_evaluation_draws_the_same_dev_and_train_and_test_are_untouched(archive: Path) -> None:
    words = tuple(Item(f"{n}", Audio(archive / f"{n}.wav"), CLASSES[n % 3], ("a",)) for n in range(30))
    official = TASK.card.recipes["mini"]
    sampled = replace(official, variants=("sampled-dev",))
    once, again = (TASK.prepare(Split("dev", words), 320, sampled) for _ in range(2))
    assert once == again
    assert once != TASK.prepare(Split("dev", words), 320, official)
    for name in ("train", "test"):
        split = Split(name, words)
        assert TASK.prepare(split, 320, sampled) == split
