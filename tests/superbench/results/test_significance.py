"""Significant differences: pairs computed by hand, an independent library, and many simulated boards."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy import stats

from superbench.board.bundles.evidence import Evidence
from superbench.contract import Prediction, Score
from superbench.contract.scoring import accuracy, ratio
from superbench.results.intervals import Replicates, interval, interval_of, jackknife_variance, replicates
from superbench.results.rows import Cell, Column, Row
from superbench.results.significance import PairedTests, averaged, compared, holm_adjusted, standings

COLUMN = Column("ks", "accuracy", "Keyword spotting", "%", True, "content", True, (41.38, 96.66), "ks_acc")


def predictions(correct: np.ndarray, fold: str = "all") -> list[Prediction]:
    """Replicates from correct answers, (groups, items)."""
    return [
        Prediction(f"{group}/{item}", fold, (f"g{group:03}",), "yes", "yes" if hit else "no")
        for group, row in enumerate(correct)
        for item, hit in enumerate(row)
    ]


def row(name: str, said: list[Prediction], deviations: tuple[str, ...] = ()) -> Row:
    score = accuracy(said)
    return Row(
        name, "local", "pretrained", {COLUMN.key: Cell(score.value, None, None, deviations)},
        replicates={COLUMN.key: replicates(said, score)},
    )  # fmt: skip


def test_replicates_give_the_interval_that_was_given_before() -> None:
    random = np.random.default_rng(0)
    for groups in (8, 30):
        said = predictions(random.random((groups, 5)) < 0.7)
        score = accuracy(said)
        found = replicates(said, score)
        assert interval_of(found, score.value) == interval(said, score)
        assert Evidence({"accuracy": found}, "x", True).to_bytes() == Evidence({"accuracy": found}, "x", True).to_bytes()
        again = Evidence.parse(Evidence({"accuracy": found}, "x", True).to_bytes())
        assert again is not None
        assert interval_of(again.replicates["accuracy"], score.value) == interval(said, score)
    kept = Evidence.parse(Evidence({"accuracy": found}, "x", False, np.array([0.0, 0.5, 1.0])).to_bytes())
    assert kept is not None
    assert kept.errors == pytest.approx([0.0, 0.5, 1.0], abs=0.002)
    assert interval_of(kept.replicates["accuracy"], score.value) == interval(said, score)
    assert Evidence.parse(b"junk") is None


def test_the_jackknife_of_equal_groups_is_the_paired_t_test() -> None:
    """Groups of equal size: an independent library's paired t test on the groups' shares gives the same p."""
    random = np.random.default_rng(1)
    one, other = random.random((12, 10)) < 0.8, random.random((12, 10)) < 0.6
    found = pair(one, other)
    expected = stats.ttest_rel(100 * one.mean(axis=1), 100 * other.mean(axis=1))
    assert found.p[0, 1] == pytest.approx(expected.pvalue)
    assert found.error[0, 1] == pytest.approx(found.difference[0, 1] / expected.statistic)


def test_the_bootstrap_of_many_groups_comes_near_the_paired_t_test() -> None:
    random = np.random.default_rng(2)
    one, other = random.random((200, 10)) < 0.8, random.random((200, 10)) < 0.77
    found = pair(one, other)
    expected = stats.ttest_rel(100 * one.mean(axis=1), 100 * other.mean(axis=1))
    assert found.error[0, 1] == pytest.approx(found.difference[0, 1] / expected.statistic, rel=0.07)


def pair(*right: np.ndarray) -> PairedTests:
    found = standings([row(str(n), predictions(one)) for n, one in enumerate(right)], COLUMN).comparison
    assert found is not None
    return found


def test_pairing_sees_what_overlapping_intervals_hide() -> None:
    """Speakers differ much, and one model is slightly better on each: intervals overlap, the difference is significant."""
    random = np.random.default_rng(3)
    ease = random.uniform(0.1, 0.9, 60)
    luck = random.random((60, 40))
    better, worse = luck < ease[:, None] + 0.05, luck < ease[:, None]
    rows = [row("better", predictions(better)), row("worse", predictions(worse))]
    intervals = [interval_of(one.replicates[COLUMN.key], one.cells[COLUMN.key].value) for one in rows]
    assert intervals[1][1] > intervals[0][0]
    assert {i: one.place for i, one in standings(rows, COLUMN).places.items()} == {0: 1, 1: 2}


def test_equal_models_share_a_place_and_a_worse_one_stands_behind_both() -> None:
    random = np.random.default_rng(4)
    good = random.random((40, 20)) < 0.9
    same = np.roll(good, 1, axis=0)
    poor = random.random((40, 20)) < 0.3
    found = standings(
        [row("poor", predictions(poor)), row("good", predictions(good)), row("same", predictions(same))], COLUMN
    ).places
    assert {i: (one.place, one.tied) for i, one in found.items()} == {0: (3, 0), 1: (1, 1), 2: (1, 1)}


def test_identical_predictions_never_differ_and_a_constant_difference_needs_enough_groups() -> None:
    hits = np.random.default_rng(5).random((30, 4)) < 0.5
    assert pair(hits, hits).p[0, 1] == 1.0
    assert not pair(np.ones((3, 2), bool), np.zeros((3, 2), bool)).better.any()  # three groups prove nothing: p = 0.25
    assert pair(np.ones((30, 2), bool), np.zeros((30, 2), bool)).better[0, 1]


def test_a_lower_value_is_better_where_the_column_says_so() -> None:
    said = [Prediction(f"{n}", "all", (f"g{n}",), 1, 1) for n in range(30)]

    def score(errors: float) -> Score:
        noise = np.random.default_rng(6).random(30)
        return ratio(noise + errors, np.ones(30) * 5, higher_is_better=False, counts={})

    scores = [score(1.0), score(2.0)]
    found = compared((0, 1), np.array([one.value for one in scores]), [replicates(said, one) for one in scores], False)
    assert found.better[0, 1]
    assert not found.better[1, 0]


def test_rows_of_other_test_groups_are_not_compared_and_say_so() -> None:
    hits = np.random.default_rng(7).random((30, 4)) < 0.5
    rows = [row("a", predictions(hits)), row("b", predictions(~hits)), row("c", predictions(hits[:25]))]
    found = standings(rows, COLUMN)
    assert found.comparison is not None
    assert found.comparison.rows == (0, 1)
    assert not found.places[2].sure


def test_a_row_that_deviates_has_no_place_and_blocks_nobody() -> None:
    hits = np.ones((30, 4), bool)
    rows = [row("short", predictions(hits), ("at most 10 updates",)), row("full", predictions(~hits))]
    assert {i: one.place for i, one in standings(rows, COLUMN).places.items()} == {1: 1}


def test_holm_is_that_of_the_textbook() -> None:
    """p = 0.01, 0.04, 0.03 for three pairs: adjusted 0.03, 0.06, 0.06."""
    p = np.array([[1, 0.01, 0.04], [0.01, 1, 0.03], [0.04, 0.03, 1]])
    assert np.allclose(holm_adjusted(p), [[1, 0.03, 0.06], [0.03, 1, 0.06], [0.06, 0.06, 1]])


def test_jackknife_variance_of_a_mean_is_that_of_the_textbook() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0])
    without = (values.sum() - values) / 3
    assert jackknife_variance(without, np.zeros(4, int)) == pytest.approx(values.var(ddof=1) / 4)


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "items", "power"), [(48, 8, 0.7), (24, 20, 0.5), (10, 60, 0.1)])
def test_false_claims_of_being_better_are_rare(groups: int, items: int, power: float) -> None:
    """Boards of six models, three equal ones on each of two levels; speakers and model-speaker interactions vary.

    A claim is false where truth is equal or the other way round. At most 5 % of the boards may hold one (Holm bounds just
    that); real differences must be found all the same.
    """
    random = np.random.default_rng(8)
    skill = np.array([0.6, 0.6, 0.6, 1.4, 1.4, 1.4])
    boards, wrong, found = 300, 0, 0
    for _ in range(boards):
        ease = random.normal(0, 1, groups) + random.normal(0, 0.5, (6, groups)) + skill[:, None]
        chance = 1 / (1 + np.exp(-ease))
        shares = (random.random((6, groups, items)) < chance[:, :, None]).mean(axis=2)
        result = compared(tuple(range(6)), 100 * shares.mean(axis=1), [_drawn(one) for one in shares], True)
        truth = skill[:, None] > skill[None, :]
        wrong += bool((result.better & ~truth).any())
        found += int((result.better & truth).sum())
    assert wrong / boards <= 0.05
    assert found / (9 * boards) > power
    print(
        f"{groups} groups: a false claim on {wrong / boards:.1%} of the boards; {found / (9 * boards):.0%} of real ones found"
    )


def _drawn(shares: np.ndarray) -> Replicates:
    """Replicates of a mean over groups of equal size, as `replicates` makes them, all draws at once."""
    groups = len(shares)
    if groups < 20:
        return Replicates(100 * (shares.sum() - shares) / (groups - 1), groups, "d", np.zeros(groups, int))
    return Replicates(100 * _counts(groups) @ shares / groups, groups, "d")


@functools.cache
def _counts(groups: int) -> np.ndarray:
    random = np.random.default_rng(0)
    return np.array([np.bincount(random.integers(0, groups, groups), minlength=groups) for _ in range(1000)])


def test_simulated_replicates_are_those_of_the_engine() -> None:
    hits = np.random.default_rng(9).random((24, 5)) < 0.5
    assert np.allclose(_drawn(hits.mean(axis=1)).values, replicates(predictions(hits), accuracy(predictions(hits))).values)


def test_a_hundred_rows_are_compared_at_once() -> None:
    random = np.random.default_rng(10)
    rows = []
    for n in range(100):
        shares = (random.random((40, 30)) < 0.5 + 0.004 * n).mean(axis=1)
        rows.append(
            Row(str(n), "local", "pretrained", {COLUMN.key: Cell(100 * shares.mean())}, replicates={COLUMN.key: _drawn(shares)})
        )
    found = standings(rows, COLUMN)
    assert found.comparison is not None
    assert found.comparison.p.shape == (100, 100)
    assert found.places[99].place == 1
    assert found.places[0].place > 50


def two_rows(difference: float, error: float, freedom: int) -> PairedTests:
    """The paired tests of two rows."""
    apart, errors = np.array([[0.0, difference], [-difference, 0.0]]), np.array([[0.0, error], [error, 0.0]])
    nothing = np.zeros((2, 2))
    return PairedTests(rows=(0, 1), difference=apart, error=errors, p=nothing, better=nothing > 0, freedom=freedom)


def test_degrees_of_freedom_of_a_mean_over_tasks_add_up_as_far_as_tasks_share_the_variance() -> None:
    equal = averaged([two_rows(4.0, 1.0, 5), two_rows(4.0, 1.0, 5)], [1.0, 1.0])
    alone = averaged([two_rows(4.0, 1.0, 5), two_rows(4.0, 0.0, 50)], [1.0, 1.0])
    scaled = averaged([two_rows(4.0, 1.0, 5), two_rows(4.0, 10.0, 5)], [1.0, 0.1])
    without = averaged([two_rows(4.0, 1.0, 0), two_rows(4.0, 1.0, 5)], [1.0, 1.0])
    assert equal is not None
    assert alone is not None
    assert scaled is not None
    assert without is not None
    assert np.asarray(equal.freedom)[0, 1] == pytest.approx(10)
    assert np.asarray(alone.freedom)[0, 1] == pytest.approx(5)
    assert np.asarray(scaled.freedom)[0, 1] == pytest.approx(10)
    assert equal.p[0, 1] == pytest.approx(2 * stats.t.sf(4 / (2**0.5 / 2), 10))
    assert equal.half()[0, 1] == pytest.approx(stats.t.ppf(0.975, 10) * 2**0.5 / 2)
    assert (without.p == 1).all()
    assert np.isnan(without.half()[0, 1])
