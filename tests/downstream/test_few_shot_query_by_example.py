"""QbE without training: the official search in one hidden state."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from downstream.query_by_example import DOCUMENT, QUERY, TASK
from superbench import Audio, Fold, Item, Split, Trial, draw_order

LENGTH, DIM = 8, 12


def noise(key: str, length: int = LENGTH) -> Tensor:
    return torch.from_numpy(np.random.default_rng(zlib.crc32(key.encode())).normal(size=(length, DIM))).float()


def frames_with(words: bool) -> Callable[[Item], Tensor]:
    """Frames of a query are those of its word; a document contains the frames of its word (or none of them) between others."""

    def frames(item: Item) -> Tensor:
        word = noise(f"word {item.id[-1]}" if words else item.id)
        return word if item.label == QUERY else torch.cat([noise(item.id, 5), word, noise(f"{item.id} end", 5)])

    return frames


@pytest.fixture
def fold() -> Fold:
    """Ten queries, a hundred documents; the word of both is the last digit of their names."""
    queries = [Item(f"q{n}", Audio(Path("q.wav")), QUERY, (f"q{n}",)) for n in range(10)]
    documents = [Item(f"d{n:02}", Audio(Path("d.wav")), DOCUMENT, (f"d{n:02}",)) for n in range(100)]
    trials = tuple(Trial(q.id, d.id, int(q.id[-1] == d.id[-1]), (q.id,)) for q in queries for d in documents)
    test = Split("test", (*queries, *documents), trials)
    return Fold("all", Split("train", ()), replace(test, name="dev"), test)


@pytest.mark.slow
def test_features_that_contain_the_query_find_every_document(ask, fold: Fold) -> None:
    assert ask(TASK, fold, frames_with(True))[0] == pytest.approx(1.0)


@pytest.mark.slow
def test_features_without_information_are_at_the_floor(ask, fold: Fold) -> None:
    assert TASK.few_shot is not None
    assert abs(ask(TASK, fold, frames_with(False))[0] - TASK.few_shot.floor(fold)) < 0.06


def test_permuted_labels_are_at_the_floor(ask, fold: Fold) -> None:
    trials = fold.test.trials
    order = draw_order(len(trials), 0, "permuted")
    permuted = tuple(replace(trial, reference=trials[i].reference) for trial, i in zip(trials, order.tolist(), strict=True))
    assert ask(TASK, replace(fold, test=replace(fold.test, trials=permuted)), frames_with(True))[0] < 0.06


def test_there_is_no_entry_with_examples() -> None:
    assert TASK.few_shot is not None
    assert TASK.few_shot.shots == (0,)
