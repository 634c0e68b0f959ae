"""MTWV: cases worked by hand, a search over all thresholds, and what resampling may do to it."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from downstream.shared.twv import BETA, Absent, maximum_twv
from superbench import Prediction, Score


def trials(**queries: list[tuple[int, float]]) -> list[Prediction]:
    """`q=[(is it a target, score), ...]`: one document after the other."""
    return [
        Prediction(f"{query}|d{number}", "all", (query,), reference, score)
        for query, row in queries.items()
        for number, (reference, score) in enumerate(row)
    ]


def at(predictions: list[Prediction], threshold: float) -> float:
    """TWV by its definition."""
    values = []
    for query in {one.group[0] for one in predictions}:
        own = [one for one in predictions if one.group == (query,)]
        targets = [one.prediction >= threshold for one in own if one.reference]
        others = [one.prediction >= threshold for one in own if not one.reference]
        if targets:
            values.append(1 - targets.count(False) / len(targets) - BETA * others.count(True) / len(others))
    return sum(values) / len(values)


def drawn(seed: int, queries: int = 12, documents: int = 50) -> list[Prediction]:
    random = np.random.default_rng(seed)
    rows = {}
    for query in range(queries):
        target = (random.random(documents) < 0.15).astype(int) if query else np.zeros(documents, int)
        rows[f"q{query}"] = list(zip(target.tolist(), np.round(random.normal(2.5 * target), 1).tolist(), strict=True))
    return trials(**rows)


def test_beta_is_that_of_the_series() -> None:
    assert pytest.approx(12.49) == BETA


def test_a_miss_and_a_false_alarm_by_hand() -> None:
    one = [(1, 3.0), (0, 2.0), (1, 1.0), *[(0, 0.0)] * 98]  # with the false alarm: 1 - 12.49 / 99; without: 1 - 1 / 2
    score = maximum_twv(trials(q=one), Absent())
    assert score.value == pytest.approx(1 - 12.49 / 99)
    assert score.counts == {
        "queries": 1, "queries_absent": 0, "documents": 101, "documents_absent": 0, "targets": 2, "hits": 2, "false_alarms": 1,
    }  # fmt: skip
    assert maximum_twv(trials(q=one[:12]), Absent()).value == 0.5  # few documents: the false alarm is too dear


def test_nothing_detected_gives_zero_and_never_less() -> None:
    score = maximum_twv(trials(q=[(0, 3.0), (1, 2.0), (0, 1.0)]), Absent())
    assert (score.value, score.counts["hits"], score.counts["false_alarms"]) == (0.0, 0.0, 0.0)


def test_equal_scores_are_detected_together() -> None:
    assert maximum_twv(trials(q=[(1, 1.0), (0, 1.0)]), Absent()).value == 0.0
    assert maximum_twv(trials(q=[(0, 1.0), (1, 1.0)]), Absent()).value == 0.0


def test_one_threshold_serves_all_queries() -> None:
    separable = trials(a=[(1, 9.0), (0, 8.0)], b=[(1, 2.0), (0, 1.0)])  # each alone would reach 1
    assert maximum_twv(separable, Absent()).value == 0.5


def test_a_query_without_targets_is_left_out() -> None:
    assert maximum_twv(trials(a=[(1, 2.0), (0, 1.0)], b=[(0, 9.0), (0, 8.0)]), Absent()).value == 1.0


def test_absent_queries_are_never_detected_and_absent_documents_soften_false_alarms() -> None:
    one = trials(q=[(1, 3.0), (0, 2.0), (1, 1.0), *[(0, 0.0)] * 98])
    value = maximum_twv(one, Absent(queries=3, documents=200)).value
    assert value == pytest.approx((1 - 12.49 / (99 + 200)) / 4)


def test_targets_in_absent_documents_are_missed() -> None:
    one = trials(q=[(1, 3.0), (0, 0.0)], r=[(0, 0.0), (0, 0.0)])
    assert maximum_twv(one, Absent(documents=5, targets={"q": 3})).value == pytest.approx(1 / 4)
    assert maximum_twv(one, Absent(documents=5, targets={"r": 1})).value == pytest.approx(1 / 2)


@pytest.mark.parametrize("seed", range(5))
def test_the_maximum_is_that_of_all_thresholds(seed: int) -> None:
    predictions = drawn(seed)
    best = max(at(predictions, threshold) for threshold in [*{one.prediction for one in predictions}, math.inf])
    score = maximum_twv(predictions, Absent())
    assert 0 < best < 1
    assert score.value == pytest.approx(best)


def test_the_order_of_predictions_does_not_matter() -> None:
    predictions = drawn(1)
    assert maximum_twv(predictions[::-1], Absent()).value == pytest.approx(maximum_twv(predictions, Absent()).value)


def weighed(score: Score, predictions: list[Prediction], counts: dict[str, float]) -> float:
    return score.reweighted(np.array([counts.get(one.group[0], 1.0) for one in predictions]))


@pytest.mark.parametrize("absent", [Absent(), Absent(documents=30, targets={"q3": 2})])
def test_a_query_of_weight_two_counts_like_two_queries_and_the_threshold_is_chosen_anew(absent: Absent) -> None:
    predictions = drawn(2)
    copies = [
        Prediction(one.id.replace("q3|", "q3copy|"), "all", ("q3copy",), one.reference, one.prediction)
        for one in predictions
        if one.group == ("q3",)
    ]
    without = [one for one in predictions if one.group != ("q5",)]
    twice = Absent(0, absent.documents, {**absent.targets, "q3copy": absent.targets.get("q3", 0)})
    expected = maximum_twv(without + copies, twice).value
    value = weighed(maximum_twv(predictions, absent), predictions, {"q3": 2.0, "q5": 0.0})
    assert value == pytest.approx(expected)
    assert value != pytest.approx(maximum_twv(predictions, absent).value)


def test_equal_weights_change_nothing_and_no_weight_at_all_is_no_number() -> None:
    predictions = drawn(3)
    score = maximum_twv(predictions, Absent(queries=7, documents=20))
    assert score.reweighted(np.full(len(predictions), 3.0)) == pytest.approx(score.value)
    assert math.isnan(score.reweighted(np.zeros(len(predictions))))


def test_a_thousand_resamples_of_the_miniature_take_seconds() -> None:
    score = maximum_twv(drawn(4, 40, 300), Absent(10, 60))
    began = time.process_time()
    for _ in range(100):
        score.reweighted(np.ones(12_000))
    assert time.process_time() - began < 1.0
