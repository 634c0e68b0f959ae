"""ASV without training: zero-shot cosines, enrolment with further utterances, a dev split of training speakers."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from downstream.speaker_verification import TASK
from superbench import Audio, Fold, Item, Split, Trial, draw_order

DIM = 24


def noise(key: str) -> Tensor:
    return torch.from_numpy(np.random.default_rng(zlib.crc32(key.encode())).normal(size=DIM)).float()


def utterance(speaker: str, number: int) -> Item:
    return Item(f"{speaker}-{number}", Audio(Path(f"{speaker}-{number}.wav")), speaker, (speaker,))


def voices(share: float) -> Callable[[Item], Tensor]:
    """Frames: a share of the vector of the speaker, the rest of the utterance."""
    return lambda item: (share * noise(item.label) + (1 - share) * noise(item.id))[None].repeat(3, 1)


@pytest.fixture
def fold() -> Fold:
    """Twenty training speakers, ten others with six utterances each, every pair of a speaker and as many of others."""
    train = tuple(utterance(f"train{s}", n) for s in range(20) for n in range(6))
    test = tuple(utterance(f"test{s}", n) for s in range(10) for n in range(6))
    same = [(a, b) for a in test for b in test if a.label == b.label and a.id < b.id]
    different = [(a, b) for a in test for b in test if a.label != b.label][:: 2700 // len(same)]
    trials = tuple(Trial(a.id, b.id, int(a.label == b.label), (a.label, b.label)) for a, b in (*same, *different))
    return Fold("all", Split("train", train), Split("dev", ()), Split("test", test, trials))


@pytest.mark.parametrize("shots", [0, 1, "all"])
def test_features_of_the_speaker_give_no_error(ask, fold: Fold, shots) -> None:
    assert ask(TASK, fold, voices(1.0), shots)[0] == 0.0


@pytest.mark.parametrize("shots", [0, 1, 4, "all"])
def test_features_without_the_speaker_are_at_the_floor(ask, fold: Fold, shots) -> None:
    """Two standard deviations of a share of 150 trials are 8 points."""
    assert TASK.few_shot is not None
    assert abs(ask(TASK, fold, voices(0.0), shots)[0] - TASK.few_shot.floor(fold)) < 10.0


@pytest.mark.parametrize("shots", [0, 4])
def test_permuted_labels_are_at_the_floor(ask, fold: Fold, shots) -> None:
    trials = fold.test.trials
    order = draw_order(len(trials), 0, "permuted").tolist()
    permuted = tuple(replace(trial, reference=trials[i].reference) for trial, i in zip(trials, order, strict=True))
    assert abs(ask(TASK, replace(fold, test=replace(fold.test, trials=permuted)), voices(1.0), shots)[0] - 50.0) < 10.0


def test_more_utterances_of_the_speaker_help(ask, fold: Fold) -> None:
    rates = [ask(TASK, fold, voices(0.35), shots)[0] for shots in (0, 4)]
    assert rates[1] < rates[0] - 5.0


@pytest.mark.slow
def test_the_enrolled_speaker_is_the_mean_of_its_utterances_without_the_tested_one(ask, fold: Fold) -> None:
    """Computed by hand for all utterances."""
    _, predictions = ask(TASK, fold, voices(0.5), "all")
    train = torch.stack([voices(0.5)(item).mean(0) for item in fold.train.items])
    unit = {
        item.id: torch.nn.functional.normalize(voices(0.5)(item).mean(0) - train.mean(0), dim=0) for item in fold.test.items
    }
    speaker = {item.id: item.label for item in fold.test.items}
    for prediction in predictions[::17]:
        left, right = prediction.id.split("|")
        model = sum(vector for key, vector in unit.items() if speaker[key] == speaker[left] and key != right)
        assert prediction.prediction == pytest.approx(float(torch.cosine_similarity(model, unit[right], dim=0)), abs=1e-5)


def test_a_k_above_the_available_number_takes_all(ask, fold: Fold) -> None:
    assert TASK.few_shot is not None
    assert TASK.few_shot.available is not None
    assert TASK.few_shot.available(fold) == 4
    scores = [[p.prediction for p in ask(TASK, fold, voices(0.5), shots)[1]] for shots in (50, "all")]
    assert scores[0] == pytest.approx(scores[1])


@pytest.mark.slow
def test_the_examples_of_a_draw_are_nested_and_draws_differ(ask, fold: Fold) -> None:
    """Each utterance is one axis, the tested one a sum of axes with weights 1, 2, 4 …: the cosine shows which are enrolled."""
    trial = next(trial for trial in fold.test.trials if trial.reference)
    small = replace(fold, test=replace(fold.test, trials=(trial,)))
    speaker = trial.left.rpartition("-")[0]

    def frames(item: Item) -> Tensor:
        axes = torch.zeros(6)
        if item.id == trial.right:
            return 2.0 ** torch.arange(6)[None]
        if item.label == speaker:
            axes[int(item.id[-1])] = 1.0
        return axes[None] + (0 if item in fold.test.items else 1e-12)

    def enrolled(shots: int, draw: int) -> set[int]:
        cosine = ask(TASK, small, frames, shots, draw)[1][0].prediction
        weight = round(cosine * (1 + shots) ** 0.5 * float(frames(test_item).norm()))
        return {bit for bit in range(6) if weight >> bit & 1}

    test_item = next(item for item in fold.test.items if item.id == trial.right)
    left = int(trial.left[-1])
    for draw in range(5):
        sets = [enrolled(shots, draw) for shots in range(5)]
        assert sets[0] == {left}
        assert [len(examples) for examples in sets] == [1, 2, 3, 4, 5]
        assert all(a < b for a, b in itertools.pairwise(sets))
        assert int(trial.right[-1]) not in sets[-1]
    assert len({tuple(sorted(enrolled(1, draw))) for draw in range(5)}) > 1


def test_the_dev_split_has_training_speakers_only_and_as_many_targets_as_nontargets(fold: Fold) -> None:
    assert TASK.few_shot is not None
    assert TASK.few_shot.develop is not None
    developed = TASK.few_shot.develop(fold)
    assert developed.test == fold.test
    assert {item.label for item in developed.dev.items} < {item.label for item in fold.train.items}
    assert {item.label for item in developed.dev.items}.isdisjoint(item.label for item in developed.train.items)
    assert sum(trial.reference for trial in developed.dev.trials) * 2 == len(developed.dev.trials) == 200
    assert len({trial.id for trial in developed.dev.trials}) == 200
    speaker = {item.id: item.label for item in developed.dev.items}
    assert all((speaker[trial.left] == speaker[trial.right]) == trial.reference for trial in developed.dev.trials)
    assert TASK.few_shot.develop(fold) == developed
