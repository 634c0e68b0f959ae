"""Intervals have about the nominal coverage, depend on the groups, and are repeatable."""

from __future__ import annotations

import numpy as np
import pytest

from superbench.contract import Prediction, Score
from superbench.contract.scoring import ratio
from superbench.results.intervals import interval


def corpus(groups: int, seed: int, spread: bool = True) -> tuple[list[Prediction], Score]:
    """Errors grouped by speaker; the mean error rate of the speakers is 10 %."""
    random = np.random.default_rng([seed, groups])
    rates = random.beta(2, 18, groups) if spread else np.full(groups, 0.1)
    words = np.array([random.integers(3, 20, random.integers(5, 16)).sum() for _ in range(groups)])
    lines = [Prediction(str(n), "all", (str(n),), "", "") for n in range(groups)]
    return lines, ratio(random.binomial(words, rates), words, higher_is_better=False, counts={})


@pytest.mark.parametrize(("groups", "least", "most"), [(4, 0.88, 0.97), (10, 0.88, 0.97), (30, 0.93, 0.97)])
@pytest.mark.slow
def test_a_95_percent_interval_holds_the_truth_as_often_as_its_documentation_says(
    groups: int, least: float, most: float
) -> None:
    ends = [interval(*corpus(groups, seed))[:2] for seed in range(400)]
    assert least <= np.mean([low <= 10.0 <= high for low, high in ends]) <= most


def test_utterances_of_one_speaker_count_as_one_group() -> None:
    """Each item is split into ten: ten times the items, and the same interval."""
    lines, score = corpus(30, 0)
    pieces = [Prediction(f"{one.id}/{n}", "all", one.group, "", "") for one in lines for n in range(10)]
    value = score.reweighted
    split = Score(score.value, "%", False, {}, lambda weights: value(weights[::10]))
    assert interval(pieces, split) == interval(lines, score)


@pytest.mark.slow
def test_an_interval_is_the_same_every_time_and_wider_where_speakers_differ() -> None:
    assert interval(*corpus(40, 3)) == interval(*corpus(40, 3))
    narrow, wide = ([interval(*corpus(40, seed, spread))[:2] for seed in range(5)] for spread in (False, True))
    assert np.mean(np.diff(wide)) > 1.5 * np.mean(np.diff(narrow))


def test_percentiles_are_moved_outward_by_students_t() -> None:
    """With 20 groups, the 95 % interval lies between the percentiles Φ(±2.093 · √(20/19)) = 1.59 % and 98.41 %."""
    lines, score = corpus(20, 1)
    low, high, method = interval(lines, score, resamples=4_000)
    random = np.random.default_rng(0)
    drawn = [score.reweighted(np.bincount(random.integers(0, 20, 20), minlength=20)[_places(lines)]) for _ in range(4_000)]
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.01590, 0.98410])), abs=0.02)
    assert method == "cluster bootstrap over 20 groups"


def _places(lines: list[Prediction]) -> np.ndarray:
    """Return the index of each line's group, with the groups sorted by name."""
    names = sorted(one.group[0] for one in lines)
    return np.array([names.index(one.group[0]) for one in lines])
