"""`--limit N`: the same few items everywhere, with every class, and trials whose both sounds remain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from superbench.contract import Audio, Fold, Item, Split, Trial
from superbench.data.limit import is_cut, limited
from superbench.errors import CommandError


def fold(labels: list[Any], trials: tuple[Trial, ...] = (), name: str = "test") -> Fold:
    items = tuple(Item(f"{n:03}", Audio(Path(f"{n}.wav")), label, (f"s{n % 5}",)) for n, label in enumerate(labels))
    empty = {"train": Split("train", ()), "dev": Split("dev", ()), "test": Split("test", ())}
    return Fold("all", **{**empty, name: Split(name, items, trials)})  # type: ignore[arg-type]


def kept(labels: list[Any], limit: int, name: str = "test") -> list[Item]:
    return list(getattr(limited([fold(labels, name=name)], limit)[0], name).items)


UNEQUAL = ["yes"] * 80 + ["no"] * 15 + ["stop"] * 3 + [{"action": "go", "object": "none"}] * 2


@pytest.mark.parametrize("limit", [4, 5, 9, 50])
def test_every_class_remains_and_rare_ones_are_complete_first(limit: int) -> None:
    counts = Counter(str(item.label) for item in kept(UNEQUAL, limit))
    assert len(counts) == 4
    assert counts.total() == limit
    fair = limit // 4
    assert all(counts[str(label)] >= min(fair, UNEQUAL.count(label)) for label in UNEQUAL)


def test_items_stay_in_the_order_of_the_corpus_and_the_choice_is_always_the_same() -> None:
    chosen = [item.id for item in kept(UNEQUAL, 20)]
    assert chosen == sorted(chosen) == [item.id for item in kept(UNEQUAL, 20)]
    assert chosen != [f"{n:03}" for n in range(20)]


def test_too_many_classes_keep_two_items_each_and_the_same_classes_in_every_split() -> None:
    speakers = [f"speaker{n % 50}" for n in range(500)]
    train, test = (Counter(item.label for item in kept(speakers, 12, name)) for name in ("train", "test"))
    assert sorted(train.values()) == [2] * 6
    assert train.keys() == test.keys()
    fewer = {item.label for item in kept(speakers, 6, "test")}
    assert fewer < set(train)


def test_texts_are_all_different_and_any_of_them_remain() -> None:
    assert len(kept([f"sentence {n}" for n in range(100)], 7)) == 7


def test_a_split_of_no_more_items_is_complete() -> None:
    whole = fold(UNEQUAL)
    assert not is_cut([whole], 100)
    assert is_cut([whole], 99)
    assert not is_cut([whole], None)
    assert limited([whole], 100) == limited([whole], None) == (whole,)


def pairs() -> tuple[Trial, ...]:
    """Each of 40 sounds with each later one; a match if both are of one of 8 speakers."""
    return tuple(Trial(f"{a:03}", f"{b:03}", int(a % 8 == b % 8), ()) for a in range(40) for b in range(a + 1, 40))


@pytest.mark.parametrize("limit", [3, 4, 10, 25])
def test_both_sounds_of_every_trial_remain_and_there_are_matches_and_others(limit: int) -> None:
    test = limited([fold(["x"] * 40, pairs())], limit)[0].test
    ids = {item.id for item in test.items}
    assert 2 < len(ids) <= limit
    assert {trial.reference for trial in test.trials} == {0, 1}
    assert test.trials == tuple(trial for trial in pairs() if trial.left in ids and trial.right in ids)
    assert ids == {name for trial in test.trials for name in (trial.left, trial.right)}


def test_one_sound_is_no_trial() -> None:
    with pytest.raises(CommandError, match="--limit 1: a trial of the test split needs two sounds"):
        limited([fold(["x"] * 40, pairs())], 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["asv", "qbe", "sd", "er"])
def test_the_miniature_corpora_can_be_cut(name: str, miniature: Callable[[str], Path]) -> None:
    from superbench import plugins
    from superbench.contract.corpora import Corpora

    for part in limited(plugins.task(name).read(Corpora(miniature(name))), 6):
        for split in part.splits:
            assert len(split.items) <= 6
            if split.trials:
                assert {trial.reference for trial in split.trials} == {0, 1}
