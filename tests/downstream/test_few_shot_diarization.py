"""SD without training: clusters of a recording, seconds of each speaker, the energy gate, overlap, the control."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from downstream.shared.diarization import Piece, Turn, frames_of
from downstream.speaker_diarization import TASK
from superbench import SAMPLE_RATE, Audio, Episode, Fold, Item, Split

HOP, DIM, SPEAKERS = 160, 16, 6
SETTING = {"smooth": 0.1, "gate": 0.3, "both": 0.25}


def noise(key: str) -> Tensor:
    return torch.from_numpy(np.random.default_rng(zlib.crc32(key.encode())).normal(size=DIM)).float()


def recording(root: Path, number: int) -> Item:
    """Six seconds: two speakers in turn, a silent pause, both at once."""
    a, b = sorted((f"s{number % SPEAKERS}", f"s{(number + 1 + number // SPEAKERS) % SPEAKERS}"))
    turns: tuple[Turn, ...] = ((0.5, 2.0, a), (2.0, 3.5, b), (4.0, 5.5, a), (4.5, 5.5, b))
    active = frames_of(turns, (a, b), HOP, 0, 6 * SAMPLE_RATE // HOP)
    wave = np.random.default_rng(number).normal(size=6 * SAMPLE_RATE) * (0.001 + 0.1 * np.repeat(active.any(1), HOP))
    path = root / f"r{number}.wav"
    soundfile.write(path, wave, SAMPLE_RATE, subtype="FLOAT")
    return Item(f"r{number}/0", Audio(path), Piece(f"r{number}", active, HOP, turns), (a, b))


@pytest.fixture
def fold(tmp_path: Path) -> Fold:
    items = tuple(recording(tmp_path, number) for number in range(12))
    return Fold("all", Split("train", items), Split("dev", ()), Split("test", items))


def voices(informative: bool) -> Callable[[Item], Tensor]:
    """Frames: the mean of the vectors of the active speakers with noise, or noise alone."""

    def frames(item: Item) -> Tensor:
        active = torch.from_numpy(item.label.active).float()
        vectors = torch.stack([noise(speaker) for speaker in item.group])
        blur = torch.from_numpy(np.random.default_rng(zlib.crc32(item.id.encode())).normal(size=(len(active), DIM))).float()
        mixture = active @ vectors / active.sum(1, keepdim=True).clamp(min=1)
        return mixture + 0.05 * blur if informative else blur

    return frames


@pytest.mark.slow
@pytest.mark.parametrize("shots", [0, 1, 5, "all"])
def test_features_that_separate_the_speakers_give_few_errors(ask, fold: Fold, shots) -> None:
    """The remaining errors are at the ends of turns, because of smoothing and the energy gate."""
    assert ask(TASK, fold, voices(True), shots, setting=SETTING)[0] < 10.0


@pytest.mark.slow
@pytest.mark.parametrize("shots", [0, 1, "all"])
def test_features_without_information_are_no_better_than_the_floor(ask, fold: Fold, shots) -> None:
    assert TASK.few_shot is not None
    one_each = {**SETTING, "both": 0.0}
    assert ask(TASK, fold, voices(False), shots, setting=one_each)[0] > TASK.few_shot.floor(fold) - 3.0


def test_permuted_speakers_are_worse_than_the_true_ones(ask, fold: Fold) -> None:
    """Examples of the wrong speakers: the speakers of all recordings are permuted, the reference turns are not."""
    groups = [item.group for item in fold.test.items]
    renamed = tuple(replace(item, group=groups[(i + 5) % 12]) for i, item in enumerate(fold.test.items))
    features = {item.id: voices(True)(item) for item in fold.test.items}
    permuted = replace(fold, test=replace(fold.test, items=renamed))
    assert ask(TASK, permuted, lambda item: features[item.id], 1, setting=SETTING)[0] > 25.0


def test_the_control_assigns_all_speech_to_both_speakers(fold: Fold, ask) -> None:
    assert TASK.few_shot is not None
    (control,) = TASK.few_shot.controls.values()
    method = replace(TASK.few_shot, answer=control)
    scores = {
        ask(replace(TASK, few_shot=method), fold, voices(informative), 1, setting=SETTING)[0] for informative in (True, False)
    }
    assert len(scores) == 1


@pytest.mark.slow
def test_no_recording_is_an_example_of_itself_and_examples_are_nested(ask, fold: Fold) -> None:
    """Changed frames of one recording change its own answer and none of the recordings without its speakers."""
    assert TASK.few_shot is not None
    assert TASK.few_shot.available is not None
    available = TASK.few_shot.available(fold)
    assert available >= 1
    same = [ask(TASK, fold, voices(True), shots, setting=SETTING)[1] for shots in (1000, "all")]
    assert [p.prediction for p in same[0]] == [p.prediction for p in same[1]]

    def strange(item: Item) -> Tensor:
        return torch.zeros(len(item.label.active), DIM) + noise("strange") if item.id == "r0/0" else voices(True)(item)

    answers = [ask(TASK, fold, frames, "all", setting=SETTING)[1] for frames in (voices(True), strange)]
    assert answers[0][0].prediction != answers[1][0].prediction
    other_recordings = {i for i, item in enumerate(fold.test.items) if set(item.group).isdisjoint(fold.test.items[0].group)}
    assert all(answers[0][i].prediction == answers[1][i].prediction for i in other_recordings)


@pytest.mark.slow
def test_episodes_and_settings_are_all_answered(fold: Fold, ask) -> None:
    method = TASK.few_shot
    assert method is not None
    episodes = [Episode(0, 0), Episode(1, 0), Episode(1, 1), Episode("all", 0)]

    class OneState:
        layer, hop = 0, HOP

        def means(self, items): ...

        def frames(self, item: Item) -> Tensor:
            return voices(True)(item)

    settings = [*method.settings, *method.further(1, method.settings[0])]
    answers = [
        (episode, str(setting)) for episode, setting, _ in method.answer(fold, fold.test, episodes, settings, OneState())
    ]
    assert sorted(map(str, answers)) == sorted(str((episode, str(setting))) for episode in episodes for setting in settings)
