"""MTWV: cases worked by hand, a search over all thresholds, and resampled values."""

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
    for query in {prediction.group[0] for prediction in predictions}:
        of_query = [prediction for prediction in predictions if prediction.group == (query,)]
        targets = [prediction.prediction >= threshold for prediction in of_query if prediction.reference]
        nontargets = [prediction.prediction >= threshold for prediction in of_query if not prediction.reference]
        if targets:
            values.append(1 - targets.count(False) / len(targets) - BETA * nontargets.count(True) / len(nontargets))
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
    scored = [(1, 3.0), (0, 2.0), (1, 1.0), *[(0, 0.0)] * 98]  # with the false alarm: 1 - 12.49 / 99; without: 1 - 1 / 2
    score = maximum_twv(trials(q=scored), Absent())
    assert score.value == pytest.approx(1 - 12.49 / 99)
    assert score.counts == {
        "queries": 1, "queries_absent": 0, "documents": 101, "documents_absent": 0, "targets": 2, "hits": 2, "false_alarms": 1,
    }  # fmt: skip
    assert maximum_twv(trials(q=scored[:12]), Absent()).value == 0.5  # few documents: the false alarm costs too much


def test_the_value_is_never_below_zero() -> None:
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
    predictions = trials(q=[(1, 3.0), (0, 2.0), (1, 1.0), *[(0, 0.0)] * 98])
    value = maximum_twv(predictions, Absent(queries=3, documents=200)).value
    assert value == pytest.approx((1 - 12.49 / (99 + 200)) / 4)


def test_targets_in_absent_documents_are_missed() -> None:
    predictions = trials(q=[(1, 3.0), (0, 0.0)], r=[(0, 0.0), (0, 0.0)])
    assert maximum_twv(predictions, Absent(documents=5, targets={"q": 3})).value == pytest.approx(1 / 4)
    assert maximum_twv(predictions, Absent(documents=5, targets={"r": 1})).value == pytest.approx(1 / 2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_maximum_is_that_over_all_thresholds(seed: int) -> None:
    predictions = drawn(seed)
    best = max(at(predictions, threshold) for threshold in [*{prediction.prediction for prediction in predictions}, math.inf])
    score = maximum_twv(predictions, Absent())
    assert 0 < best < 1
    assert score.value == pytest.approx(best)


def test_the_order_of_predictions_does_not_matter() -> None:
    predictions = drawn(1)
    assert maximum_twv(predictions[::-1], Absent()).value == pytest.approx(maximum_twv(predictions, Absent()).value)


def weighted(score: Score, predictions: list[Prediction], counts: dict[str, float]) -> float:
    return score.reweighted(np.array([counts.get(prediction.group[0], 1.0) for prediction in predictions]))


@pytest.mark.parametrize("absent", [Absent(), Absent(documents=30, targets={"q3": 2})])
def test_a_query_of_weight_two_counts_like_two_queries_at_a_new_threshold(absent: Absent) -> None:
    predictions = drawn(2)
    copies = [
        Prediction(prediction.id.replace("q3|", "q3copy|"), "all", ("q3copy",), prediction.reference, prediction.prediction)
        for prediction in predictions
        if prediction.group == ("q3",)
    ]
    without = [prediction for prediction in predictions if prediction.group != ("q5",)]
    twice = Absent(0, absent.documents, {**absent.targets, "q3copy": absent.targets.get("q3", 0)})
    expected = maximum_twv(without + copies, twice).value
    value = weighted(maximum_twv(predictions, absent), predictions, {"q3": 2.0, "q5": 0.0})
    assert value == pytest.approx(expected)
    assert value != pytest.approx(maximum_twv(predictions, absent).value)


def test_equal_weights_change_nothing_and_zero_weights_give_nan() -> None:
    predictions = drawn(3)
    score = maximum_twv(predictions, Absent(queries=7, documents=20))
    assert score.reweighted(np.full(len(predictions), 3.0)) == pytest.approx(score.value)
    assert math.isnan(score.reweighted(np.zeros(len(predictions))))


@pytest.mark.slow
def test_a_thousand_resamples_of_the_miniature_take_seconds() -> None:
    score = maximum_twv(drawn(4, 40, 300), Absent(10, 60))
    began = time.process_time()
    for _ in range(100):
        score.reweighted(np.ones(12_000))
    assert time.process_time() - began < 1.0
