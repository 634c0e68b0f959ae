"""SF without training: the slots of the nearest example, nested pools, the best constant answer as the floor."""

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

from downstream.shared.snips import SLOTS
from downstream.slot_filling import TASK, slots
from superbench import Audio, Fold, Item, Split, draw_order

DIM = 16
ORDERS = [
    (("PLAY", "O"), (artist, "artist"), ("ON", "O"), (service, "service"))
    for artist, service in itertools.product(("ABBA", "BLUR"), ("SPOTIFY", "DEEZER"))
] + [(("RAIN", "O"), ("IN", "O"), (city, "city")) for city in ("PARIS", "ROME")]


def item(name: str, number: int) -> Item:
    return Item(f"{name}-{number}", Audio(Path(f"{name}.wav")), ORDERS[number % len(ORDERS)], (name,))


@pytest.fixture
def fold() -> Fold:
    train = tuple(item(f"voice{n % 3}", n) for n in range(60))
    return Fold("all", Split("train", train), Split("dev", ()), Split("test", tuple(item("tested", n) for n in range(60))))


def voices(informative: bool) -> Callable[[Item], Tensor]:
    def frames(item: Item) -> Tensor:
        noise, order = (
            torch.from_numpy(np.random.default_rng(zlib.crc32(key.encode())).normal(size=(1, DIM))).float()
            for key in (item.id, str(item.label))
        )
        return order + 0.2 * noise if informative else noise

    return frames


@pytest.mark.parametrize("shots", [20, "all"])
def test_features_that_separate_the_commands_give_no_error(ask, fold: Fold, shots) -> None:
    score, predictions = ask(TASK, fold, voices(True), shots)
    assert score == 100.0
    assert TASK.score(predictions, {})["slot_value_cer"].value == 0.0
    assert predictions[0].prediction == "PLAY B-artist ABBA E-artist ON B-service SPOTIFY E-service"


def test_features_without_information_are_not_above_the_floor(ask, fold: Fold) -> None:
    assert TASK.few_shot is not None
    floor = TASK.few_shot.floor(fold)
    assert floor == pytest.approx(100 * 2 / 3)  # artist and service, in two of three
    assert ask(TASK, fold, voices(False), "all")[0] < floor + 10.0


def test_permuted_labels_are_not_above_the_floor(ask, fold: Fold) -> None:
    features = {item.id: voices(True)(item) for item in (*fold.train.items, *fold.test.items)}
    order = draw_order(60, 0, "permuted").tolist()
    items = tuple(replace(item, label=fold.train.items[i].label) for item, i in zip(fold.train.items, order, strict=True))
    permuted = replace(fold, train=replace(fold.train, items=items))
    assert TASK.few_shot is not None
    assert ask(TASK, permuted, lambda item: features[item.id], "all")[0] < TASK.few_shot.floor(fold) + 10.0


def test_examples_are_nested_and_each_slot_type_has_k_of_them(ask, fold: Fold) -> None:
    """Every training utterance has its own slots, and a test utterance near each of them tells whether it is in the pool."""
    labels = [((f"W{'ABCDEFGHIJ'[n // 4]}{'KLMN'[n % 4]}", SLOTS[n % 4]),) for n in range(40)]
    train = tuple(replace(item("voice0", n), label=labels[n]) for n in range(40))
    test = tuple(replace(item("tested", n), label=labels[n]) for n in range(40))
    small = Fold("all", Split("train", train), Split("dev", ()), Split("test", test))
    pools = [{p.prediction for p in ask(TASK, small, voices(True), shots, draw=2)[1]} for shots in (1, 2, 5, "all")]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(pools))
    assert [len(pool) for pool in pools] == [4, 8, 20, 40]
    assert len({slot for text in pools[0] for slot in slots(text)}) == 4
    assert pools[0] != {p.prediction for p in ask(TASK, small, voices(True), 1, draw=3)[1]}


def test_a_k_above_the_available_number_takes_all(ask, fold: Fold) -> None:
    assert TASK.few_shot is not None
    assert TASK.few_shot.available is not None
    assert TASK.few_shot.available(fold) == 20
    answers = [{p.id: p.prediction for p in ask(TASK, fold, voices(False), shots)[1]} for shots in (60, "all")]
    assert answers[0] == answers[1]


def test_no_example_is_by_a_speaker_of_test(ask, fold: Fold) -> None:
    leaked = replace(fold, train=replace(fold.train, items=(*fold.train.items, *fold.test.items[:5])))
    assert TASK.few_shot is not None
    assert ask(TASK, leaked, voices(False), "all")[0] < 95.0
    scores = [ask(TASK, variant, voices(False), "all")[1][:5] for variant in (fold, leaked)]
    assert all(p.reference == p.prediction for p in scores[0]) is False
    assert all(p.reference == p.prediction for p in scores[1]) is False
